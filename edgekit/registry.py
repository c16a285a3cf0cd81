"""Every frontend, converter and runtime by name: one literal table, imported on lookup."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from edgekit.errors import MissingDependencyError
from edgekit.packages import can_import

if TYPE_CHECKING:
    from edgekit.converters.base import Converter
    from edgekit.frontends.base import Frontend
    from edgekit.runtimes.base import Runtime


@dataclass(frozen=True)
class Entry:
    """Where a plug-in lives.

    Attributes:
        location: `module:Class`.
        extra: the pip extra that brings what it needs; empty when the core install is enough.
        does: one line for `--help` and `doctor`.
        needs: modules that must be importable for it to work at all.
    """

    location: str
    extra: str
    does: str
    needs: tuple[str, ...] = ()

    def make(self) -> Any:
        """Import the class and construct it."""
        module, _, name = self.location.partition(":")
        return getattr(import_module(module), name)()


FRONTENDS: dict[str, Entry] = {
    "onnx": Entry("edgekit.frontends.onnx:OnnxFrontend", "", ".onnx files, opset 7 and up"),
    "tflite": Entry("edgekit.frontends.tflite.frontend:TFLiteFrontend", "tflite", ".tflite files"),
    "keras": Entry("edgekit.frontends.keras:KerasFrontend", "keras", ".keras and .h5 files"),
    "saved_model": Entry(
        "edgekit.frontends.saved_model:SavedModelFrontend", "keras", "TensorFlow SavedModel folders"
    ),
    "torch": Entry("edgekit.frontends.torch:TorchFrontend", "torch", ".pt2 files and nn.Module"),
}

CONVERTERS: dict[str, Entry] = {
    "tflite": Entry(
        "edgekit.converters.tflite.converter:TFLiteConverter",
        "tflite",
        "mobile",
        needs=("ai_edge_litert", "flatbuffers"),
    ),
    "openvino": Entry(
        "edgekit.converters.openvino.converter:OpenVINOConverter",
        "openvino",
        "x86 and ARM CPUs",
        needs=("openvino",),
    ),
    "onnxruntime": Entry(
        "edgekit.converters.onnxruntime.converter:OnnxRuntimeConverter", "", "any CPU"
    ),
    "tensorrt": Entry(
        "edgekit.converters.tensorrt.converter:TensorRTConverter", "tensorrt", "NVIDIA GPUs"
    ),
}

RUNTIMES: dict[str, Entry] = {
    "tflite": Entry("edgekit.runtimes.tflite:TFLiteRuntime", "tflite", "LiteRT interpreter"),
    "openvino": Entry("edgekit.runtimes.openvino:OpenVINORuntime", "openvino", "OpenVINO on CPU"),
    "onnxruntime": Entry("edgekit.runtimes.onnxruntime:OnnxRuntimeRuntime", "", "ONNX Runtime"),
    "tensorrt": Entry("edgekit.runtimes.tensorrt:TensorRTRuntime", "tensorrt", "TensorRT on a GPU"),
}


def frontend(name: str) -> Frontend:
    """The frontend of that name."""
    return cast("Frontend", FRONTENDS[name].make())


def converter(name: str) -> Converter:
    """The converter of that target.

    Raises:
        MissingDependencyError: if a package that it needs is not installed.
    """
    entry = CONVERTERS[name]
    for module in entry.needs:
        if not can_import(module):
            raise MissingDependencyError(
                module.replace("_", "-"), extra=entry.extra, needed_for=f"the {name} target"
            )
    return cast("Converter", entry.make())


def runtime(name: str) -> Runtime:
    """The runtime of that name."""
    return cast("Runtime", RUNTIMES[name].make())
