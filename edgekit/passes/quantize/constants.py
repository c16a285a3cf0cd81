"""Constants as quantization sees them: stored values, and stored integers that are dequantized.

A model whose weights alone were quantized (a dynamic-range TFLite file) reads them through
DequantizeLinear. They are float constants to a static quantization, which then finds the same
integers again, or fewer bits of them where a target needs that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.passes.quantize.arithmetic import dequantize


def is_constant(value: onnx_ir.Value | None) -> bool:
    """Whether the values are known before the model runs."""
    if value is None:
        return False
    return value.const_value is not None or _dequantized(value) is not None


def constant_data(value: onnx_ir.Value) -> NDArray[Any]:
    """The values of a constant; empty for anything else."""
    if value.const_value is not None:
        return value.const_value.numpy()
    node = _dequantized(value)
    if node is None:
        return np.zeros(0, np.float32)
    tensors = [v.const_value.numpy() for v in node.inputs if v is not None and v.const_value]
    integers, scale = tensors[0], tensors[1]
    zero_point = tensors[2] if len(tensors) > 2 else np.zeros_like(scale, integers.dtype)
    axis = _int(node, "axis", 1)
    return dequantize(integers, scale, zero_point, axis % integers.ndim if scale.size > 1 else None)


def _dequantized(value: onnx_ir.Value) -> onnx_ir.Node | None:
    """The DequantizeLinear of stored integers that makes a value."""
    node = value.producer()
    if node is None or node.op_type != "DequantizeLinear":
        return None
    if _int(node, "block_size", 0):
        return None
    stored = all(v is None or v.const_value is not None for v in node.inputs)
    return node if stored else None


def _int(node: onnx_ir.Node, name: str, default: int) -> int:
    found = node.attributes.get(name)
    return default if found is None else found.as_int()
