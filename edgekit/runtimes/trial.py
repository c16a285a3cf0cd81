"""Opens a file in a child process first, where a native crash or a hang does no harm.

    python -m edgekit.runtimes.trial RUNTIME PATH

prints one JSON object: `{"error": null}` or `{"error": "..."}`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import EdgeKitError, InputError
from edgekit.ir.signature import TensorSpec
from edgekit.runtimes.base import refused

TIMEOUT = 60.0
"""Seconds after which a file counts as hanging its runtime."""

_MARK = "edgekit-trial:"


def try_in_child(runtime: str, path: Path, timeout: float = TIMEOUT) -> None:
    """Open a file and run it once on zeros, in a process of its own.

    Args:
        runtime: name of the runtime in the registry.
        path: the artifact.
        timeout: seconds to wait.

    Raises:
        InputError: if the runtime refuses the file, crashes on it or hangs.
    """
    command = [sys.executable, "-m", __name__, runtime, str(path.absolute())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as e:
        raise _unsafe(path, runtime, f"does not finish within {timeout:g} s on") from e
    for line in reversed(done.stdout.decode(errors="replace").splitlines()):
        if line.startswith(_MARK):
            error = json.loads(line[len(_MARK) :])["error"]
            if error:
                raise InputError(error["message"], hint=error["hint"])
            return
    raise _unsafe(path, runtime, f"crashes ({_cause(done.returncode)}) on")


def _unsafe(path: Path, runtime: str, does: str) -> InputError:
    return InputError(f"{runtime} {does} '{path.name}'.", hint="the file is damaged")


def _cause(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit code {code}"


def _zeros(spec: TensorSpec) -> NDArray[Any]:
    return np.zeros([d if isinstance(d, int) else 1 for d in spec.shape], spec.dtype)


def _try(runtime: str, path: Path) -> dict[str, str | None] | None:
    from edgekit import registry

    try:
        session = registry.runtime(runtime).open(path, threads=1, trusted=True)
    except EdgeKitError as e:
        return {"message": e.message, "hint": e.hint}
    except Exception as e:
        # Whatever a native library raises here is an answer about the file, not a bug of ours.
        return {"message": refused(path, runtime, e).message, "hint": None}
    # A sound model may refuse zeros, or the size 1 for its free axes; only a crash counts here.
    with session, suppress(Exception):
        session.run({spec.name: _zeros(spec) for spec in session.signature.inputs})
    return None


def main(arguments: list[str]) -> None:
    """Entry point of the child."""
    error = _try(arguments[0], Path(arguments[1]))
    sys.stdout.write(f"\n{_MARK}{json.dumps({'error': error})}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
