"""How long work tells how far it is. The SDK is silent by default; the CLI draws bars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Receives the stages of a piece of work. One stage at a time."""

    def start(self, label: str, total: int | None = None) -> None:
        """A stage begins; `total` is its number of steps where that is known."""

    def update(self, done: int, total: int | None = None) -> None:
        """So many steps of the stage are done."""

    def finish(self) -> None:
        """The stage is over."""


class Silent:
    """Progress that nobody looks at."""

    def start(self, label: str, total: int | None = None) -> None:
        """Nothing."""

    def update(self, done: int, total: int | None = None) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""


SILENT: Progress = Silent()


@contextmanager
def stage(progress: Progress, label: str, total: int | None = None) -> Iterator[Progress]:
    """One stage, finished also when it fails."""
    progress.start(label, total)
    try:
        yield progress
    finally:
        progress.finish()
