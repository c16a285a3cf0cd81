"""Q/DQ of a float artifact, spelled out as the float arithmetic that it stands for.

A source that is quantized already brings pairs that TensorRT refuses: zero points, uint8, weights
alone. In an artifact that is not INT8 they only have to mean the same:

    QuantizeLinear        x ─► Div ─► Round ─► Add ─► Clip ─► Cast ─► q
    DequantizeLinear      q ─► Cast ─► Sub ─► Mul ─► y

Between the two of a pair the Casts are left out, and constants after a DequantizeLinear are
computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.converters.constants import drop_unused_constants
from edgekit.errors import EdgeKitError

_FLOAT = onnx_ir.DataType.FLOAT
_LIMITS = {
    onnx_ir.DataType.INT8: (-128, 127),
    onnx_ir.DataType.UINT8: (0, 255),
    onnx_ir.DataType.INT16: (-(2**15), 2**15 - 1),
    onnx_ir.DataType.UINT16: (0, 2**16 - 1),
}


@dataclass(frozen=True)
class _Linear:
    """The numbers of a Q or DQ node, shaped to broadcast along its axis."""

    scale: NDArray[Any]
    zero: NDArray[Any]


def spell_out(model: onnx_ir.Model) -> None:
    """Replace the Q/DQ nodes of a graph in place.

    Nodes whose scale is computed, or given by blocks, stay as they are.
    """
    graph = model.graph
    for node in list(graph):
        if node.op_type == "DequantizeLinear":
            _fold(graph, node)
    for node in list(graph):
        linear = _linear(node)
        if linear is not None and node.op_type == "QuantizeLinear":
            _quantize(graph, node, linear)
        elif linear is not None and node.op_type == "DequantizeLinear":
            _dequantize(graph, node, linear)
    drop_unused_constants(graph)


def _linear(node: onnx_ir.Node) -> _Linear | None:
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return None
    block = node.attributes.get("block_size")
    scale, zero = (_array(node, index) for index in (1, 2))
    computed = len(node.inputs) > 2 and node.inputs[2] is not None and zero is None
    if scale is None or computed or (block is not None and block.as_int()):
        return None
    source = node.inputs[0]
    if scale.size > 1 and (source is None or source.shape is None):
        return None
    rank = 0 if source is None or source.shape is None else len(source.shape)
    attribute = node.attributes.get("axis")
    shape = [1] * rank if scale.size > 1 else []
    if shape:
        shape[attribute.as_int() if attribute is not None else 1] = -1
    zero = np.zeros_like(scale) if zero is None else zero
    return _Linear(scale.astype(np.float32).reshape(shape), zero.astype(np.float32).reshape(shape))


def _array(node: onnx_ir.Node, index: int) -> NDArray[Any] | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    return None if value is None or value.const_value is None else value.const_value.numpy()


def _fold(graph: onnx_ir.Graph, node: onnx_ir.Node) -> None:
    """Compute a DequantizeLinear of a constant."""
    linear, stored, output = _linear(node), _array(node, 0), node.outputs[0]
    if linear is None or stored is None or output.is_graph_output():
        return
    array = (stored.astype(np.float32) - linear.zero) * linear.scale
    output.replace_all_uses_with(_constant(graph, f"{output.name}_float", array))
    graph.remove(node, safe=True)


def _quantize(graph: onnx_ir.Graph, node: onnx_ir.Node, linear: _Linear) -> None:
    output = node.outputs[0]
    limits = _LIMITS.get(output.dtype) if output.dtype is not None else None
    if limits is None:
        return
    name = output.name or node.name or "quantized"
    low, high = (_constant(graph, f"{name}_{limit:+d}", np.float32(limit)) for limit in limits)
    steps: list[tuple[str, tuple[onnx_ir.Value, ...]]] = [
        ("Div", (_constant(graph, f"{name}_scale", linear.scale),)),
        ("Round", ()),
        ("Add", (_constant(graph, f"{name}_zero", linear.zero),)),
        ("Clip", (low, high)),
    ]
    value = _chain(graph, node, steps)
    if not _read_by_dequantize(output):
        value = _cast(graph, node, value, output.dtype or _FLOAT)
    _replace(graph, node, value)


def _read_by_dequantize(value: onnx_ir.Value) -> bool:
    """Whether only nodes that will be spelled out read the integers."""
    readers = [use.node for use in value.uses()]
    return not value.is_graph_output() and all(
        r.op_type == "DequantizeLinear" and _linear(r) is not None for r in readers
    )


def _dequantize(graph: onnx_ir.Graph, node: onnx_ir.Node, linear: _Linear) -> None:
    name, source = node.outputs[0].name or node.name or "real", node.inputs[0]
    if source is None:
        return
    if source.dtype != _FLOAT:
        source = _cast(graph, node, source, _FLOAT)
    steps: list[tuple[str, tuple[onnx_ir.Value, ...]]] = [
        ("Sub", (_constant(graph, f"{name}_zero", linear.zero),)),
        ("Mul", (_constant(graph, f"{name}_scale", linear.scale),)),
    ]
    _replace(graph, node, _chain(graph, node, steps, source))


def _chain(
    graph: onnx_ir.Graph,
    before: onnx_ir.Node,
    steps: list[tuple[str, tuple[onnx_ir.Value, ...]]],
    value: onnx_ir.Value | None = None,
) -> onnx_ir.Value:
    """Insert nodes, each of which reads the one before it."""
    value = before.inputs[0] if value is None else value
    if value is None:
        raise EdgeKitError(f"{before.op_type} '{before.name}' has no input")
    for op, extra in steps:
        node = onnx_ir.Node("", op, [value, *extra], outputs=[_like(before, op, _FLOAT)])
        value = _insert(graph, before, node)
    return value


def _cast(
    graph: onnx_ir.Graph, before: onnx_ir.Node, value: onnx_ir.Value, to: onnx_ir.DataType
) -> onnx_ir.Value:
    attributes = [onnx_ir.AttrInt64("to", int(to))]
    output = _like(before, f"Cast_{to.name.lower()}", to)
    return _insert(graph, before, onnx_ir.Node("", "Cast", [value], attributes, outputs=[output]))


def _insert(graph: onnx_ir.Graph, before: onnx_ir.Node, node: onnx_ir.Node) -> onnx_ir.Value:
    node.name = f"{node.outputs[0].name}/{node.op_type}"
    graph.insert_before(before, node)
    return node.outputs[0]


def _like(node: onnx_ir.Node, suffix: str, dtype: onnx_ir.DataType) -> onnx_ir.Value:
    output = node.outputs[0]
    name = f"{output.name}_{suffix.lower()}"
    return onnx_ir.Value(name=name, type=onnx_ir.TensorType(dtype), shape=output.shape)


def _replace(graph: onnx_ir.Graph, node: onnx_ir.Node, value: onnx_ir.Value) -> None:
    """Let a value take the place, and the name, of a node's output."""
    old = node.outputs[0]
    old.replace_all_uses_with(value, replace_graph_outputs=True)
    name = old.name
    graph.remove(node, safe=True)
    value.name = name


def _constant(graph: onnx_ir.Graph, name: str, array: NDArray[Any] | np.float32) -> onnx_ir.Value:
    numbers = np.asarray(array, np.float32)
    value = onnx_ir.Value(
        name=name,
        type=onnx_ir.TensorType(_FLOAT),
        shape=onnx_ir.Shape(numbers.shape),
        const_value=onnx_ir.tensor(numbers, name=name),
    )
    graph.initializers[name] = value
    return value
