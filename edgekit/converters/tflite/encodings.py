"""How Q/DQ nodes of the IR map to TFLite quantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.converters.tflite.graph import Quantization
from edgekit.converters.tflite.lowering import constant_of, int_attribute, operand

QUANTIZE = "QuantizeLinear"
DEQUANTIZE = "DequantizeLinear"

STORED = ("int8", "uint8", "int16")
"""Types that QUANTIZE writes and DEQUANTIZE reads."""

_UNSIGNED_SHIFT = 128


@dataclass(frozen=True, eq=False)
class Encoding:
    """Stored type of a quantized value, and what it stands for.

    Attributes:
        dtype: NumPy name of the stored type.
        quantization: scale, zero point, axis.
    """

    dtype: str
    quantization: Quantization

    def same_as(self, other: Encoding | None) -> bool:
        """Whether stored values mean the same."""
        return (
            other is not None
            and self.dtype == other.dtype
            and self.quantization.same_as(other.quantization)
        )

    @property
    def is_plain_int8(self) -> bool:
        """Whether it is int8 with one scale, as kernels want activations."""
        return self.dtype == "int8" and not self.quantization.per_axis

    @property
    def scale(self) -> float:
        """The scale where there is one only."""
        return float(self.quantization.scale[0])

    @property
    def zero_point(self) -> int:
        """The zero point where there is one only."""
        return int(self.quantization.zero_point[0])

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest real value that can be stored."""
        info = np.iinfo(self.dtype)
        return (
            (info.min - self.zero_point) * self.scale,
            (info.max - self.zero_point) * self.scale,
        )

    def signed(self) -> Encoding:
        """The int8 twin of a uint8 encoding: stored values move down by 128."""
        if self.dtype != "uint8":
            return self
        q = self.quantization
        return Encoding("int8", Quantization(q.scale, q.zero_point - _UNSIGNED_SHIFT, q.axis))


def plain(scale: float, zero_point: int) -> Encoding:
    """An int8 encoding with one scale."""
    return Encoding(
        "int8", Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))
    )


def encoding_of(node: onnx_ir.Node) -> Encoding | None:
    """The encoding on the integer side of a QuantizeLinear or DequantizeLinear.

    Returns:
        None where the parameters are computed at run time, or vary by block.
    """
    scale, zero = constant_of(operand(node, 1)), operand(node, 2)
    zero_point = constant_of(zero)
    if scale is None or (zero is not None and zero_point is None):
        return None
    if int_attribute(node, "block_size", 0) or scale.ndim > 1:
        return None
    integers = node.outputs[0] if node.op_type == QUANTIZE else node.inputs[0]
    if integers is None or integers.dtype is None or integers.dtype.bitwidth < 8:
        return None
    points = np.zeros(scale.shape) if zero_point is None else zero_point
    axis = int_attribute(node, "axis", 1)
    rank = len(integers.shape) if integers.shape is not None else 0
    return Encoding(
        str(integers.dtype.numpy().name),
        Quantization(
            scale.astype(np.float32).reshape(-1),
            np.broadcast_to(points, scale.shape).astype(np.int64).reshape(-1),
            axis % rank if rank and scale.size > 1 else 0,
        ),
    )


def along(values: NDArray[Any], quantization: Quantization, rank: int) -> NDArray[Any]:
    """Scales or zero points shaped to broadcast against a tensor of some rank."""
    if not quantization.per_axis:
        return values.reshape(())
    shape = [1] * rank
    shape[quantization.axis] = -1
    return values.reshape(shape)


def dequantized(data: NDArray[Any], quantization: Quantization) -> NDArray[np.float32]:
    """Real values of stored integers, in the arithmetic of ONNX."""
    rank = data.ndim
    shifted = data.astype(np.int64) - along(quantization.zero_point, quantization, rank)
    scale = along(quantization.scale.astype(np.float32), quantization, rank)
    return np.asarray(shifted.astype(np.float32) * scale, np.float32)


def quantized(data: NDArray[Any], encoding: Encoding) -> NDArray[Any]:
    """Stored integers of real values; out-of-range values saturate."""
    q = encoding.quantization
    info = np.iinfo(encoding.dtype)
    steps = np.rint(np.asarray(data, np.float64) / along(q.scale.astype(np.float64), q, data.ndim))
    stored = steps + along(q.zero_point, q, data.ndim)
    return np.asarray(np.clip(stored, info.min, info.max).astype(encoding.dtype))


def constant_of_dequantize(node: onnx_ir.Node) -> NDArray[np.float32] | None:
    """The real values of a DequantizeLinear on constants, of any type and blocking.

    Returns:
        None where an operand is computed at run time.
    """
    stored, scale = constant_of(operand(node, 0)), constant_of(operand(node, 1))
    zero = operand(node, 2)
    zero_point = constant_of(zero)
    if stored is None or scale is None or (zero is not None and zero_point is None):
        return None
    data = stored.astype(np.float64)
    axis = int_attribute(node, "axis", 1)
    factors = _spread(scale, node, axis, data.shape)
    offset = 0.0 if zero_point is None else _spread(zero_point, node, axis, data.shape)
    return np.asarray((data - offset) * factors, np.float32)


def _spread(
    values: NDArray[Any], node: onnx_ir.Node, axis: int, shape: tuple[int, ...]
) -> NDArray[Any]:
    """Scales or zero points for each element of a tensor."""
    wide = values.astype(np.float64)
    block = int_attribute(node, "block_size", 0)
    if block:
        return np.repeat(wide, block, axis).take(range(shape[axis]), axis)
    if wide.size == 1:
        return wide.reshape(())
    sizes = [1] * len(shape)
    sizes[axis] = -1
    return wide.reshape(sizes)
