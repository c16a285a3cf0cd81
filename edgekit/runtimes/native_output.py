"""Catches what native libraries write to the standard error stream."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.RLock()
_STDERR = 2


class Captured:
    """Text that was written while `captured_stderr` was active; complete once it has ended."""

    def __init__(self) -> None:
        self.text = ""

    @property
    def errors(self) -> str:
        """Its lines in one, without those that only inform."""
        lines = (line.strip() for line in self.text.splitlines())
        told = (line for line in lines if line and not line.startswith(("INFO:", "W0000", "I0000")))
        return " ".join(line.removeprefix("ERROR:").strip() for line in told)


@contextmanager
def captured_stderr() -> Iterator[Captured]:
    """Redirect file descriptor 2, which native code writes to directly, for a moment.

    The descriptor belongs to the whole process: keep the block short.
    """
    captured = Captured()
    with _LOCK, tempfile.TemporaryFile() as sink:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            saved = os.dup(_STDERR)
        except OSError:  # the process runs without a standard error stream
            yield captured
            return
        os.dup2(sink.fileno(), _STDERR)
        try:
            yield captured
        finally:
            os.dup2(saved, _STDERR)
            os.close(saved)
            sink.seek(0)
            captured.text = sink.read().decode(errors="replace")
