"""The words of the public API: targets, precisions, I/O types and layouts.

The SDK, the command line, recipes and manifests all use these same words.
"""

from __future__ import annotations

from enum import Enum


class Word(str, Enum):
    """A string that is one of a closed set; prints as itself."""

    def __str__(self) -> str:
        return str(self.value)


class Target(Word):
    """What an artifact is compiled for."""

    TFLITE = "tflite"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"
    TENSORRT = "tensorrt"


class Precision(Word):
    """The arithmetic of an artifact. INT8 is static, with a calibration set."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


class IoType(Word):
    """The type of an artifact's inputs and outputs."""

    FLOAT = "float"
    INT8 = "int8"


class Layout(Word):
    """The order of the axes of a 4-D image tensor."""

    NHWC = "nhwc"
    NCHW = "nchw"


class CpuPolicy(Word):
    """Which x86 CPUs an INT8 artifact must be exact on.

    `PORTABLE` keeps weights within 7 bits where the runtime would otherwise saturate on CPUs
    without VNNI; `VNNI` uses the full 8-bit range.
    """

    PORTABLE = "portable"
    VNNI = "vnni"
