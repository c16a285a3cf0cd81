"""Write a folder in whole or not at all.

Everything is written to a hidden folder beside the destination and moved into place at the end.
A process that is killed leaves at most such a hidden folder, which the next run removes.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit.errors import OutputError

_MARK = ".edgekit-partial-"


@contextmanager
def staged_folder(output: Path, *, replace: bool, marker: str) -> Iterator[Path]:
    """A folder to write to, which becomes `output` when the block ends without an error.

    Args:
        output: the destination.
        replace: whether an existing destination may be replaced.
        marker: name of a file that proves that an existing folder is ours to replace.

    Raises:
        OutputError: if the destination is taken, is not ours, or cannot be written.
    """
    output = Path(os.path.abspath(output))  # noqa: PTH100 - resolve() would follow links
    check_destination(output, replace=replace, marker=marker)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(output)
        folder = output.with_name(f".{output.name}{_MARK}{os.getpid()}")
        folder.mkdir()
    except OSError as e:
        raise _explain(e, output) from e
    try:
        yield folder
        _move_into_place(folder, output)
    except OSError as e:
        raise _explain(e, output) from e
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_destination(output: Path, *, replace: bool, marker: str) -> None:
    """Refuse a destination that holds something, before any work is done.

    Raises:
        OutputError: if it exists and must not be replaced.
    """
    if not output.exists() and not output.is_symlink():
        return
    if not output.is_dir():
        raise OutputError(f"'{output}' exists and is not a folder.", hint="choose another -o")
    if not any(output.iterdir()):
        return
    if not replace:
        raise OutputError(
            f"'{output}' exists and is not empty.",
            hint="add --force to replace it, or choose another -o",
        )
    if not (output / marker).is_file():
        raise OutputError(
            f"'{output}' holds other files (it has no {marker}), so --force does not replace it.",
            hint="choose another -o, or empty the folder yourself",
        )


def remove_partial(output: Path, pid: int) -> None:
    """Remove what a process that died had written so far."""
    full = Path(os.path.abspath(output))  # noqa: PTH100
    shutil.rmtree(full.with_name(f".{full.name}{_MARK}{pid}"), ignore_errors=True)


def _move_into_place(folder: Path, output: Path) -> None:
    if not output.exists():
        folder.replace(output)
        return
    old = output.with_name(f".{output.name}.edgekit-old-{os.getpid()}")
    output.replace(old)
    try:
        folder.replace(output)
    except OSError:
        old.replace(output)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_stale(output: Path) -> None:
    for left in output.parent.glob(f".{_escape(output.name)}{_MARK}*"):
        pid = left.name.rpartition("-")[2]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _escape(name: str) -> str:
    import glob

    return glob.escape(name)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _explain(error: OSError, output: Path) -> OutputError:
    hints = {
        errno.ENOSPC: "free some space, or choose a folder on another disk",
        errno.EDQUOT: "free some space, or choose a folder on another disk",
        errno.EACCES: "choose a folder that you may write to",
        errno.EROFS: "choose a folder that you may write to",
    }
    reason = error.strerror or str(error)
    return OutputError(
        f"cannot write '{output}': {reason}. Nothing was left there.",
        hint=hints.get(error.errno or 0),
    )
