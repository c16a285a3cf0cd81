"""The bias of convolutions and fully connected layers."""

from __future__ import annotations

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.lowering import QUANTIZED_TYPES, OpContext
from edgekit.frontends.tflite.model import Quantization


def bias(op: OpContext, position: int, *, data: int, weights: int) -> onnx_ir.Value:
    """The bias as real numbers.

    An integer bias counts in units of input scale × weight scale, whatever scale its own tensor
    states: that is what the kernels compute. int32 stays an int32 constant with
    DequantizeLinear; int64 (of 16-bit models), which ONNX does not dequantize, becomes float32.

    Args:
        op: the operator.
        position: of the bias.
        data: position of the input it is added to, after the weights.
        weights: position of the weights.
    """
    tensor = op.tensor(position)
    if tensor.dtype not in ("INT32", "INT64"):
        return op.weights(position, (0,))
    stored = op.constant(position)
    scale = _scale(op, data, weights)
    if stored is None or scale is None:
        raise ModelFileError(
            f"{op.operator.kind} has an integer bias, but its operands are not quantized."
        )
    flat = stored.reshape(-1)
    if scale.size not in (1, flat.size):
        raise ModelFileError(f"the bias of {op.operator.kind} has {flat.size} entries.")
    name = op.builder.reserve(tensor.name or f"tensor_{tensor.index}")
    if flat.dtype == np.int64:
        return op.builder.constant((flat * scale.astype(np.float64)).astype(np.float32), name)
    per_axis = scale.size > 1
    factor = op.builder.constant(scale if per_axis else scale.reshape(()))
    value = op.builder.constant(flat, name)
    return op.op("DequantizeLinear", value, factor, axis=0 if per_axis else None)


def _scale(op: OpContext, data: int, weights: int) -> NDArray[np.float32] | None:
    x, w = _quantization(op, data), _quantization(op, weights)
    if x is None or w is None:
        return None
    scale: NDArray[np.float32] = (x.scale * w.scale).astype(np.float32)
    return scale


def _quantization(op: OpContext, position: int) -> Quantization | None:
    tensor = op.tensor(position)
    return tensor.quantization if tensor.dtype in QUANTIZED_TYPES else None
