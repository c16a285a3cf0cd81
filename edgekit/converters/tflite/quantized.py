"""Q/DQ pairs → integer tensors.

```
before   x ─ Q ─ DQ ─ Conv ─ Q ─ DQ ─ Softmax ─ Q ─ DQ ─ y        values are float, Q/DQ explicit
after    x ─ Q ─────── Conv ─────────── Softmax ──────── DQ ─ y    values between are int8
```

A node whose float operands all come from DequantizeLinear and whose float results all go to
QuantizeLinear, and for which TFLite has an int8 kernel, takes the integers themselves. What kernels
demand beyond that (one scale on both sides, a fixed output encoding, an int32 bias) is met by
requantizing, or the node stays in float with a reason. The Q and DQ that remain become QUANTIZE and
DEQUANTIZE: at the edges of the graph, around float nodes, and between two encodings.

Scales are never chosen here; they are those of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir

from edgekit.converters.tflite.encodings import DEQUANTIZE, QUANTIZE, Encoding
from edgekit.converters.tflite.kernels import KERNELS, WHY_NOT, Kernel, Sides
from edgekit.converters.tflite.lowering import ACTIVATION, Lowering, operand
from edgekit.converters.tflite.products import realise_weights, weights_refusal
from edgekit.converters.tflite.quantized_finish import finish
from edgekit.converters.tflite.quantized_values import Values, is_float
from edgekit.errors import Reason

__all__ = ["absorb"]

_TOO_COARSE = 2.0
"""A fixed output encoding serves as long as its step is at most so many of the asked one."""


def absorb(model: onnx_ir.Model, ctx: Lowering) -> tuple[Reason, ...]:
    """Let integer tensors stand for the quantized values of a Q/DQ graph, in place.

    Call it after layout assignment and fusing, before nodes are lowered.

    Args:
        model: a working copy; nodes that are absorbed read and write int8 values afterwards.
        ctx: gets the tensors, with their quantization.

    Returns:
        The nodes of a quantized graph that compute in float, with the reason; empty for a graph
        without quantized activations.

    Raises:
        UnsupportedError: if one value is written with one scale and read with another.
    """
    if not any(node.op_type in (QUANTIZE, DEQUANTIZE) for node in model.graph):
        return ()
    values = Values(model.graph)
    quantized = bool(values.encodings)
    for node in reversed(tuple(model.graph)):
        if node.op_type == QUANTIZE:
            _raise_quantize(values, node)
    reasons = []
    for node in tuple(model.graph):
        if node.op_type in (QUANTIZE, DEQUANTIZE) or not _is_float_node(node):
            continue
        why = _refusal(values, node)
        if not why:
            _realise(values, node, KERNELS[node.op_type])
        elif not _only_moves(node):
            reasons.append(Reason(node.name or "", node.op_type, why))
    finish(values, ctx)
    return tuple(reasons) if quantized else ()


def _is_float_node(node: onnx_ir.Node) -> bool:
    return any(is_float(value) for value in (*node.inputs, *node.outputs))


def _only_moves(node: onnx_ir.Node) -> bool:
    kernel = KERNELS.get(node.op_type)
    return kernel is not None and kernel.moves


def _raise_quantize(values: Values, node: onnx_ir.Node) -> None:
    """Quantize before values are moved, rather than after: Transpose → Q becomes Q → Transpose."""
    while True:
        moved = operand(node, 0)
        mover = None if moved is None else moved.producer()
        if moved is None or mover is None or len(moved.uses()) != 1 or moved.is_graph_output():
            return
        kernel, source = KERNELS.get(mover.op_type), operand(mover, 0)
        encoding = values.encodings.get(node.outputs[0])
        if kernel is None or not kernel.moves or len(mover.outputs) != 1 or source is None:
            return
        if encoding is None or not encoding.is_plain_int8 or source.const_value is not None:
            return
        if values.encoding(source) is not None or not is_float(source):
            return
        node = values.quantize_before(mover, node)


# Whether a node can run in integers -------------------------------------------------------------


def _refusal(values: Values, node: onnx_ir.Node) -> str:
    """Why a node stays in float; empty if it does not."""
    kernel = KERNELS.get(node.op_type)
    if kernel is None:
        return WHY_NOT.get(node.op_type, f"TFLite has no int8 kernel for {node.op_type}")
    why = kernel.check(node)
    for test in _TESTS:
        why = why or test(values, node, kernel)
    return why


def _operands(
    values: Values, node: onnx_ir.Node, kernel: Kernel
) -> Iterator[tuple[int, onnx_ir.Value]]:
    """The float operands that must be int8, weights and biases aside."""
    weight = kernel.weight
    apart = set(kernel.unquantized)
    if weight is not None and weight.bias is not None:
        apart.add(weight.bias)
    if weight is not None and operand(node, weight.operand) in values.constants:
        apart.add(weight.operand)
    for index, value in enumerate(node.inputs):
        if value is not None and index not in apart and is_float(value):
            yield index, value


def _operands_refusal(values: Values, node: onnx_ir.Node, kernel: Kernel) -> str:
    for index, value in _operands(values, node, kernel):
        encoding = values.encoding(value)
        if encoding is None:
            return f"its operand {index} ('{value.name}') is not quantized"
        if not encoding.is_plain_int8:
            how = "by channel" if encoding.dtype == "int8" else f"as {encoding.dtype}"
            return f"its operand {index} ('{value.name}') is quantized {how}"
        why = kernel.check_operand(node, encoding) if index == 0 else ""
        if why:
            return why
    return ""


def _weight_refusal(values: Values, node: onnx_ir.Node, kernel: Kernel) -> str:
    return weights_refusal(values, node, kernel.weight) if kernel.weight is not None else ""


def _results_refusal(values: Values, node: onnx_ir.Node, kernel: Kernel) -> str:
    if kernel.exact and ACTIVATION not in node.meta and _same_encoding(values, node, kernel):
        return ""
    for value in filter(is_float, node.outputs):
        quantizers = values.quantizers(value)
        if value.is_graph_output() or len(quantizers) < len(value.uses()):
            return f"its result '{value.name}' is not quantized everywhere it is read"
        if not all(values.encodings[q.outputs[0]].signed().is_plain_int8 for q in quantizers):
            return f"its result '{value.name}' is not quantized to int8 with one scale"
    return ""


def _same_encoding(values: Values, node: onnx_ir.Node, kernel: Kernel) -> bool:
    encodings = [values.encoding(value) for _, value in _operands(values, node, kernel)]
    return all(e is not None and e.same_as(encodings[0]) for e in encodings)


def _step_refusal(values: Values, node: onnx_ir.Node, kernel: Kernel) -> str:
    wanted = _wanted(values, node)
    if kernel.output is None or wanted is None:
        return ""
    if kernel.output.scale > _TOO_COARSE * wanted.scale:
        step = f"1/{round(1 / kernel.output.scale)}"
        return f"TFLite's kernel has a fixed step of {step}, coarser than the one asked for"
    return ""


_TESTS: tuple[Callable[[Values, onnx_ir.Node, Kernel], str], ...] = (
    _operands_refusal,
    _weight_refusal,
    _results_refusal,
    _step_refusal,
)


# Making it run in integers ----------------------------------------------------------------------


def _wanted(values: Values, node: onnx_ir.Node) -> Encoding | None:
    """The encoding asked of the first result: of several, the one of the widest range."""
    encodings = [
        values.encodings[quantizer.outputs[0]].signed()
        for value in node.outputs[:1]
        for quantizer in values.quantizers(value)
    ]
    return max(encodings, key=lambda e: e.range[1] - e.range[0], default=None)


def _realise(values: Values, node: onnx_ir.Node, kernel: Kernel) -> None:
    if kernel.weight is not None:
        realise_weights(values, node, kernel.weight)
    operands = tuple(_operands(values, node, kernel))
    wanted = _wanted(values, node)
    given = next((values.encoding(value) for _, value in operands), None)
    agreed = (wanted or given) if kernel.sides is Sides.AGREE else None
    for index, value in operands:
        read = values.read(value) if agreed is None else values.read_as(value, agreed)
        node.replace_input_with(index, read)
    follows = kernel.sides is Sides.FOLLOW and not kernel.rescales(node)
    encoding = kernel.output or (given if follows else wanted) or given
    for value in filter(is_float, node.outputs):
        if encoding is not None:
            values.write(value, encoding)
