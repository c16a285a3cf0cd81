"""Runs ONNX files on ONNX Runtime's CPU provider."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import InputError
from edgekit.ir.signature import Dim, Signature, TensorSpec
from edgekit.packages import version_of
from edgekit.runtimes.base import Availability, Runtime, Session, refused

PROVIDER = "CPUExecutionProvider"

_QUIET = 4
"""Log severity at which ONNX Runtime writes nothing but fatal errors."""

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(string)": "object",
}
"""Element types that ONNX Runtime calls otherwise than NumPy does."""


class OnnxRuntimeSession(Session):
    """An ONNX file opened on ONNX Runtime."""

    def __init__(self, session: Any, name: str) -> None:
        self._session = session
        self._name = name
        self.signature = Signature(_specs(session.get_inputs()), _specs(session.get_outputs()))

    def _run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        names = [spec.name for spec in self.signature.outputs]
        try:
            values = self._session.run(names, feeds)
        except Exception as e:  # ONNX Runtime's exceptions share no base class but this one
            words = " ".join(str(e).split())
            raise InputError(f"ONNX Runtime fails on '{self._name}': {words}") from e
        return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}

    def close(self) -> None:
        """Free the session."""
        self._session = None


def _specs(ports: Iterable[Any]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(p.name, _dtype(p.type), tuple(map(_dim, p.shape))) for p in ports)


def _dtype(kind: str) -> str:
    return _DTYPES.get(kind, kind.removeprefix("tensor(").removesuffix(")"))


def _dim(size: Any) -> Dim:
    return size if isinstance(size, int) else (str(size) if size else None)


class OnnxRuntimeRuntime(Runtime):
    """ONNX Runtime on the CPU."""

    name = "onnxruntime"
    extra = ""
    suffixes = (".onnx", ".ort")

    def probe(self) -> Availability:
        """Look for the package; GPU builds of it serve as well."""
        for distribution in ("onnxruntime", "onnxruntime-gpu"):
            if version := version_of(distribution):
                return Availability(True, True, version, f"{distribution}, {PROVIDER}", self.extra)
        return Availability(False, False, "", "onnxruntime is not installed", self.extra)

    def _open(self, path: Path, threads: int | None) -> Session:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        if threads:
            options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
        except Exception as e:  # ONNX Runtime's exceptions share no base class but this one
            raise refused(path, "ONNX Runtime", e) from e
        # A provider that cannot be loaded is dropped without an error.
        if session.get_providers() != [PROVIDER]:
            raise InputError(
                f"ONNX Runtime runs '{path.name}' on {session.get_providers()}, not on {PROVIDER}."
            )
        return OnnxRuntimeSession(session, path.name)
