import io

from edgekit.cli import progress
from edgekit.cli.progress import Bars


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_long_stage_gets_a_bar(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    terminal = Terminal()
    bars = Bars(terminal)
    bars.start("calibrate", 10)
    bars._timer.join()
    bars.update(4, 10)
    bars.finish()
    assert "calibrate" in terminal.getvalue()


def test_a_short_stage_gets_none(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 3600.0)
    terminal = Terminal()
    bars = Bars(terminal)
    bars.start("quick")
    bars.start("quicker", 3)
    bars.update(3)
    bars.finish()
    assert terminal.getvalue() == ""


def test_no_terminal_no_bar():
    stream = io.StringIO()
    bars = Bars(stream)
    bars.start("calibrate", 10)
    bars.update(1)
    bars.finish()
    assert stream.getvalue() == ""
