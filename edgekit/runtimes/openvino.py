"""Runs OpenVINO IR on the CPU plugin, in float32 wherever the artifact is float."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import InputError
from edgekit.ir.signature import Dim, Signature, TensorSpec
from edgekit.packages import import_openvino, version_of
from edgekit.runtimes.base import Availability, Runtime, Session, refused

_RESULT_SUFFIX = "/sink_port_0"
"""What the ONNX reader adds to the name of an output."""


def compile_properties(threads: int | None = None) -> dict[str, Any]:
    """Properties of the CPU plugin under which artifacts are measured.

    Without the precision hint the plugin computes float graphs in bfloat16 (x86 with AVX512_BF16
    or AMX) or float16 (ARM), so that two machines would give different answers.
    """
    properties: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "CACHE_DIR": "",
    }
    if threads:
        properties["INFERENCE_NUM_THREADS"] = threads
    return properties


class OpenVINOSession(Session):
    """A model compiled for the CPU plugin.

    Args:
        model: as it was read: compiling merges tensors, and an output may get the names of both.
        compiled: the same, compiled.
        name: of its file.
    """

    def __init__(self, model: Any, compiled: Any, name: str) -> None:
        self._request = compiled.create_infer_request()
        self._name = name
        self.signature = Signature(
            _specs(model.inputs, compiled.inputs), _specs(model.outputs, compiled.outputs)
        )

    def _run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        indexed = {i: feeds[spec.name] for i, spec in enumerate(self.signature.inputs)}
        try:
            results = self._request.infer(indexed)
        except RuntimeError as e:
            words = " ".join(str(e).split())
            raise InputError(f"OpenVINO fails on '{self._name}': {words}") from e
        return {spec.name: np.array(results[i]) for i, spec in enumerate(self.signature.outputs)}

    def close(self) -> None:
        """Free the compiled model."""
        self._request = None


def _specs(named: Iterable[Any], ports: Iterable[Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            _name(source, index),
            np.dtype(port.element_type.to_dtype()).name,
            tuple(_dim(axis, size) for axis, size in enumerate(port.partial_shape)),
        )
        for index, (source, port) in enumerate(zip(named, ports, strict=True))
    )


def _name(port: Any, index: int) -> str:
    friendly = str(port.node.friendly_name).removesuffix(_RESULT_SUFFIX)
    names = sorted(port.names)
    if not names:
        return friendly or f"tensor_{index}"
    return friendly if friendly in names else names[0]


def _dim(axis: int, size: Any) -> Dim:
    if size.is_static:
        return int(size.get_length())
    return "batch" if axis == 0 else None


class OpenVINORuntime(Runtime):
    """OpenVINO on the CPU."""

    name = "openvino"
    extra = "openvino"
    suffixes = (".xml",)
    tries_in_child = True

    def probe(self) -> Availability:
        """Look for the package."""
        version = version_of("openvino")
        detail = "CPU plugin, float32" if version else "openvino is not installed"
        return Availability(bool(version), bool(version), version, detail, self.extra)

    def _open(self, path: Path, threads: int | None) -> Session:
        core = _core()
        try:
            model = core.read_model(str(path))
            compiled = core.compile_model(model, "CPU", compile_properties(threads))
        except RuntimeError as e:
            raise refused(path, "OpenVINO", e) from e
        return OpenVINOSession(model, compiled, path.name)


@cache
def _core() -> Any:
    """One plugin registry for the process; it takes its time to load."""
    return import_openvino().Core()
