import io
import sys

import pytest

from edgekit.cli import progress
from edgekit.cli.progress import Bars


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    return stream


def test_a_long_stage_gets_a_bar(terminal):
    bars = Bars()
    bars.start("calibrate", 10)
    bars._timer.join()
    bars.update(4, 10)
    bars.finish()
    assert "calibrate" in terminal.getvalue()


def test_a_short_stage_gets_none(terminal, monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 3600.0)
    bars = Bars()
    bars.start("quick")
    bars.start("quicker", 3)
    bars.update(3)
    bars.finish()
    assert terminal.getvalue() == ""


def test_no_terminal_no_bar(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    bars = Bars()
    bars.start("calibrate", 10)
    assert bars._timer is None
    bars.update(1)
    bars.finish()
    assert stream.getvalue() == ""
