"""Does a command's work in a child process, so that a crash in a parser ends in a message.

Model files go through native code of other projects (HDF5, protobuf, runtimes). The child is
forked before anything heavy is imported, which costs milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

import click

_CRASHED = 6
_KILLED = 1
_CRASH_SIGNALS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


def supervise(work: Callable[[], int], clean_up: Callable[[int], None]) -> int:
    """Run `work` in a forked child.

    Args:
        work: gives the exit code.
        clean_up: called with the child's process id if it died by a signal.

    Returns:
        The exit code of the child, or one for the way it died.
    """
    if not hasattr(os, "fork"):
        return work()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _run_child(work, parent)
    code, death = _wait(child)
    if death is None:
        return code
    clean_up(child)
    return _explain(death)


def _run_child(work: Callable[[], int], parent: int) -> None:
    code = _KILLED
    try:
        _die_with(parent)
        code = work()
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = 0
    finally:
        os._exit(code)


def _die_with(parent: int) -> None:
    """Ask Linux to end this process when its parent dies, however that happens."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    set_parent_death_signal = 1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(_KILLED)


def _wait(child: int) -> tuple[int, signal.Signals | None]:
    def forward(number: int, frame: FrameType | None) -> None:
        del frame
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    # Ctrl-C reaches the child by itself: both are in the foreground process group.
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, forward),
    }
    try:
        _, status = os.waitpid(child, 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if os.WIFSIGNALED(status):
        return _KILLED, signal.Signals(os.WTERMSIG(status))
    return os.WEXITSTATUS(status), None


def _explain(death: signal.Signals) -> int:
    if death in _CRASH_SIGNALS:
        click.echo(
            f"error: a native library crashed ({death.name}) on this model. Nothing was written.",
            err=True,
        )
        click.echo("hint: the file is probably damaged; export it again", err=True)
        return _CRASHED
    click.echo(f"error: the work was ended by {death.name}. Nothing was written.", err=True)
    if death is signal.SIGKILL:
        click.echo("hint: the machine may have run out of memory; use fewer --samples", err=True)
    return _KILLED
