"""The constant weights and biases of integer convolutions and matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.converters.tflite.encodings import Encoding, along, dequantized
from edgekit.converters.tflite.graph import Quantization
from edgekit.converters.tflite.kernels import Weight
from edgekit.converters.tflite.lowering import constant_of, int_attribute, operand
from edgekit.converters.tflite.quantized_values import Values

_LARGEST = 2**31 - 1
_CLOSE = 1e-5
"""Relative difference of scales up to which a given int32 bias is kept as it is."""


def weights_refusal(values: Values, node: onnx_ir.Node, weight: Weight) -> str:
    """Why the weights or the bias of a node do not suit an integer kernel; empty if they do."""
    value = operand(node, weight.operand)
    if value is None or value not in values.constants:
        if not weight.optional:
            return "its weights are not quantized constants"
        added = weight.bias is not None and operand(node, weight.bias) is not None
        return "it adds a bias to a product of two activations" if added else ""
    data, encoding = values.constants[value]
    if encoding.dtype != "int8":
        return f"its weights are {encoding.dtype}"
    if encoding.quantization.zero_point.any():
        return "its weights have a zero point other than 0"
    if encoding.quantization.per_axis and not _channels(node, weight, data, encoding):
        axis = encoding.quantization.axis
        return f"its weights have a scale for each slice of axis {axis}, not of their channels"
    return _bias_refusal(values, node, weight)


def _channels(node: onnx_ir.Node, weight: Weight, data: NDArray[Any], encoding: Encoding) -> bool:
    axis = weight.axis
    if weight.transposed and int_attribute(node, weight.transposed, 0):
        axis = weight.transposed_axis
    if axis < 0 and data.ndim != 2:
        return False
    return encoding.quantization.axis == axis % data.ndim


def _bias_refusal(values: Values, node: onnx_ir.Node, weight: Weight) -> str:
    if weight.bias is None:
        return ""
    bias = operand(node, weight.bias)
    if bias is None:
        return ""
    if bias not in values.constants and constant_of(bias) is None:
        return "its bias is computed at run time"
    encodings = _encodings(values, node, weight)
    real = _real_bias(values, bias)
    if real.ndim > 1 and real.size != real.shape[-1]:
        return "its bias is not a vector"
    if np.abs(real / _bias_scale(encodings, real)).max(initial=0) > _LARGEST:
        return "its bias does not fit into 32 bits at the scale of its weights"
    return ""


def realise_weights(values: Values, node: onnx_ir.Node, weight: Weight) -> None:
    """Let a node read int8 weights and an int32 bias. Call it before its data operand changes."""
    value = operand(node, weight.operand)
    if value is None or value not in values.constants:
        return
    data_encoding, encoding = _encodings(values, node, weight)
    bias = operand(node, weight.bias) if weight.bias is not None else None
    if bias is not None and weight.bias is not None:
        scale = _bias_scale((data_encoding, encoding), _real_bias(values, bias))
        node.replace_input_with(weight.bias, _integer_bias(values, bias, scale))
    stored = np.maximum(values.constants[value][0], -127)
    node.replace_input_with(
        weight.operand, values.constant(value.name or "weight", stored, encoding)
    )


def _encodings(values: Values, node: onnx_ir.Node, weight: Weight) -> tuple[Encoding, Encoding]:
    """Encodings of the data and of the weights."""
    data, kernel = operand(node, 0), operand(node, weight.operand)
    given = values.encoding(data) if data is not None else None
    constant = values.constants[kernel][1] if kernel is not None else None
    if given is None or constant is None:
        raise ValueError("the operands of an integer product are not quantized")
    return given, constant


def _bias_scale(encodings: tuple[Encoding, Encoding], bias: NDArray[Any]) -> NDArray[np.float32]:
    data, weight = encodings
    scale = data.quantization.scale * weight.quantization.scale
    return np.asarray(scale if scale.size in (1, bias.size) else scale[:1], np.float32)


def _real_bias(values: Values, bias: onnx_ir.Value) -> NDArray[Any]:
    if bias in values.constants:
        data, encoding = values.constants[bias]
        return dequantized(data, encoding.quantization).astype(np.float64)
    return np.asarray(constant_of(bias), np.float64)


def _integer_bias(values: Values, bias: onnx_ir.Value, scale: NDArray[np.float32]) -> onnx_ir.Value:
    quantization = Quantization(scale, np.zeros(scale.size, np.int64), 0)
    given = values.constants.get(bias)
    if given is not None and _is_exact(*given, scale):
        stored = given[0]
    else:
        real = _real_bias(values, bias)
        steps = along(
            scale.astype(np.float64), Quantization(scale, scale, real.ndim - 1), real.ndim
        )
        stored = np.rint(real / steps).astype(np.int32)
    return values.constant(bias.name or "bias", stored, Encoding("int32", quantization))


def _is_exact(data: NDArray[Any], encoding: Encoding, scale: NDArray[np.float32]) -> bool:
    q = encoding.quantization
    return (
        data.dtype == np.int32
        and not q.zero_point.any()
        and q.scale.size in (1, scale.size)
        and bool(np.allclose(q.scale, scale, rtol=_CLOSE, atol=0))
    )
