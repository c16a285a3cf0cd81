"""What is left of Q/DQ when integers have taken their places: dead pairs go, tensors are bound."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir

from edgekit.converters.tflite.encodings import DEQUANTIZE, QUANTIZE, dequantized
from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import Lowering, operand, shape_of
from edgekit.converters.tflite.quantized_values import Values


def finish(values: Values, ctx: Lowering) -> None:
    """Fold what is left of quantized constants, drop dead pairs, and bind the tensors."""
    for value, (data, encoding) in values.constants.items():
        if value.uses() or value.is_graph_output():
            real = dequantized(data, encoding.quantization)
            value.replace_all_uses_with(
                values.initializer(f"{value.name}/float", real), replace_graph_outputs=True
            )
    _drop_repeated(values)
    _drop_unused(values)
    for value, encoding in values.encodings.items():
        if value.shape is None:
            continue  # lowering its node says what is missing
        tensor = Tensor(value.name or "", encoding.dtype, shape_of(value))
        if value.is_graph_input():
            tensor = ctx.tensor(value)
        tensor.quantization = encoding.quantization
        ctx.bind(value, tensor)
    for value, tensor in values.bound.items():
        ctx.bind(value, tensor)


def _drop_repeated(values: Values) -> None:
    """Keep one of the QUANTIZE, or DEQUANTIZE, nodes that do the same."""
    kept: dict[tuple[str, onnx_ir.Value | None], list[onnx_ir.Value]] = {}
    for node in tuple(values.graph):
        if node.op_type not in (QUANTIZE, DEQUANTIZE):
            continue
        out, source = node.outputs[0], operand(node, 0)
        if out not in values.encodings and source not in values.encodings:
            continue
        same = kept.setdefault((node.op_type, source), [])
        twin = next((v for v in same if _is_repeated(v, out, values)), None)
        if twin is None or out.is_graph_output():
            same.append(out)
        else:
            out.replace_all_uses_with(twin)


def _drop_unused(values: Values) -> None:
    for node in reversed(tuple(values.graph)):
        if node.op_type in (QUANTIZE, DEQUANTIZE) and not _is_used(node.outputs):
            values.graph.remove(node, safe=True)
            values.encodings.pop(node.outputs[0], None)


def _is_repeated(first: onnx_ir.Value, other: onnx_ir.Value, values: Values) -> bool:
    if first not in values.encodings:
        return first.dtype == other.dtype
    return values.encodings[first].same_as(values.encodings.get(other))


def _is_used(values: Iterable[onnx_ir.Value]) -> bool:
    return any(value.uses() or value.is_graph_output() for value in values)
