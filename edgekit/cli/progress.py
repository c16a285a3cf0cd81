"""Progress bars on stderr, for stages that last more than a second."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_PATIENCE = 1.0
"""Seconds of a stage before a bar appears."""


class Bars:
    """Draws a bar for a stage once it has lasted a second; on a terminal only."""

    def __init__(self) -> None:
        self._label = ""
        self._total: int | None = None
        self._began = 0.0
        self._bars: RichProgress | None = None
        self._enabled = sys.stderr.isatty()

    def start(self, label: str, total: int | None = None) -> None:
        """A stage begins."""
        self.finish()
        self._label, self._total, self._began = label, total, time.monotonic()
        if self._enabled and total is None:
            # Nothing will call `update`, so the spinner has to be there from the start.
            self._open()

    def update(self, done: int, total: int | None = None) -> None:
        """So many steps are done."""
        if not self._enabled or time.monotonic() - self._began < _PATIENCE:
            return
        self._total = total if total is not None else self._total
        bars = self._bars or self._open()
        bars.update(bars.task_ids[0], completed=done, total=self._total)

    def finish(self) -> None:
        """The stage is over; its bar goes away."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _open(self) -> RichProgress:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bars.add_task(self._label, total=self._total)
        self._bars.start()
        return self._bars
