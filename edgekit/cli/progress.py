"""Progress bars on stderr, for stages that last more than a second."""

from __future__ import annotations

import sys
from threading import Lock, Timer
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_PATIENCE = 1.0
"""Seconds of a stage before its bar appears."""


class Bars:
    """Draws a bar for each stage that lasts longer than a second; on a terminal only.

    Args:
        stream: where to draw; None is stderr.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._lock = Lock()
        self._timer: Timer | None = None
        self._bars: RichProgress | None = None
        self._label = ""
        self._done = 0
        self._total: int | None = None

    def start(self, label: str, total: int | None = None) -> None:
        """A stage begins."""
        self.finish()
        self._label, self._done, self._total = label, 0, total
        if self._stream.isatty():
            self._timer = Timer(_PATIENCE, self._open)
            self._timer.daemon = True
            self._timer.start()

    def update(self, done: int, total: int | None = None) -> None:
        """So many steps are done."""
        with self._lock:
            self._done, self._total = done, total if total is not None else self._total
            if self._bars is not None:
                self._bars.update(self._bars.task_ids[0], completed=done, total=self._total)

    def finish(self) -> None:
        """The stage is over; its bar goes away."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._bars is not None:
                self._bars.stop()
                self._bars = None

    def _open(self) -> None:
        from rich import progress
        from rich.console import Console

        with self._lock:
            if self._timer is None:
                return
            self._bars = progress.Progress(
                progress.SpinnerColumn(),
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.TimeElapsedColumn(),
                progress.TimeRemainingColumn(),
                console=Console(file=self._stream),
                transient=True,
            )
            self._bars.add_task(self._label, completed=self._done, total=self._total)
            self._bars.start()
