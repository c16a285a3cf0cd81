"""Runs a worker module in a child process, so that neither its crash nor its imports reach us."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import (
    EdgeKitError,
    MissingDependencyError,
    ModelFileError,
    Reason,
    UnsupportedError,
    UsageError,
)

logger = logging.getLogger(__name__)

JOB = "job.json"
RESULT = "result.json"
_NOISE = "worker.log"
_TIMEOUT = 900.0
"""Seconds a worker may take unless `EDGEKIT_READER_TIMEOUT` says otherwise."""

_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    "PYTHONFAULTHANDLER": "1",
    "PYTHONSAFEPATH": "1",
}


def run_worker(module: str, job: Mapping[str, Any], folder: Path, label: str) -> dict[str, Any]:
    """Run `python -m module` on a job and return its result.

    The worker reads `job.json` in its working folder, writes files beside it and ends with
    `result.json`. What it prints goes to a log file.

    Args:
        module: the worker, run with `serve`.
        job: a JSON object.
        folder: an empty folder for the exchange.
        label: what is being read, for messages.

    Raises:
        EdgeKitError: the error that the worker reported, or a `ModelFileError` if it crashed or
            took too long.
    """
    (folder / JOB).write_text(json.dumps(dict(job)), encoding="utf-8")
    timeout = _timeout()
    with (folder / _NOISE).open("wb") as noise:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=noise,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired as e:
            raise ModelFileError(
                f"reading {label} took longer than {timeout:.0f} seconds and was stopped.",
                hint="set EDGEKIT_READER_TIMEOUT to a larger number of seconds",
            ) from e
        finally:
            _stop(process)
    return _outcome(folder, code, label)


def serve(handler: Any) -> None:
    """Body of a worker module: read the job, call the handler, write the result.

    Args:
        handler: function from the job to a JSON object; an `EdgeKitError` it raises reaches the
            caller of `run_worker` as the same error.
    """
    job = json.loads(Path(JOB).read_text(encoding="utf-8"))
    try:
        result: dict[str, Any] = {"result": handler(job)}
    except EdgeKitError as e:
        result = {"error": error_to_json(e)}
    Path(RESULT).write_text(json.dumps(result), encoding="utf-8")


def error_to_json(error: EdgeKitError) -> dict[str, Any]:
    """An error as a JSON object that `error_from_json` turns back."""
    if isinstance(error, MissingDependencyError):
        return {
            "kind": "missing",
            "package": error.package,
            "extra": error.extra,
            "message": error.message.partition(" needs the package ")[0],
        }
    message, reasons = error.message, []
    if isinstance(error, UnsupportedError):
        reasons = [[r.node, r.op, r.reason, r.hint] for r in error.reasons]
        message = message.partition("\n  - ")[0] if reasons else message
    return {"kind": _kind(error), "message": message, "hint": error.hint, "reasons": reasons}


def error_from_json(document: Mapping[str, Any]) -> EdgeKitError:
    """The error that `error_to_json` wrote."""
    message, hint = document["message"], document.get("hint")
    if document["kind"] == "missing":
        return MissingDependencyError(
            document["package"], extra=document["extra"], needed_for=message
        )
    if document["kind"] == "unsupported":
        reasons = [Reason(*entry) for entry in document["reasons"]]
        return UnsupportedError(message, reasons=reasons, hint=hint)
    known = {"usage": UsageError, "model": ModelFileError}
    return known.get(document["kind"], EdgeKitError)(message, hint=hint)


def _kind(error: EdgeKitError) -> str:
    if isinstance(error, UnsupportedError):
        return "unsupported"
    if isinstance(error, UsageError):
        return "usage"
    return "model" if isinstance(error, ModelFileError) else "other"


def _timeout() -> float:
    text = os.environ.get("EDGEKIT_READER_TIMEOUT", "")
    try:
        seconds = float(text) if text else _TIMEOUT
    except ValueError as e:
        raise UsageError(f"EDGEKIT_READER_TIMEOUT is not a number of seconds: {text!r}.") from e
    return seconds


def _environment() -> dict[str, str]:
    roots = [str(Path(entry or ".").resolve()) for entry in sys.path]
    return {**os.environ, **_QUIET, "PYTHONPATH": os.pathsep.join(dict.fromkeys(roots))}


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _outcome(folder: Path, code: int, label: str) -> dict[str, Any]:
    noise = (folder / _NOISE).read_text(encoding="utf-8", errors="replace")
    logger.debug("reader of %s said:\n%s", label, noise)
    try:
        document = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ModelFileError(
            f"{label} cannot be read: {_death(code, noise)}.",
            hint="the file is damaged, or was written in a way its framework cannot read back",
        ) from e
    if "error" in document:
        raise error_from_json(document["error"])
    return dict(document["result"])


def _death(code: int, noise: str) -> str:
    if code < 0:
        return f"its reader crashed with {signal.Signals(-code).name}"
    lines = [line.strip() for line in noise.splitlines() if line.strip()]
    return lines[-1][:300].rstrip(".") if lines else f"its reader ended with status {code}"
