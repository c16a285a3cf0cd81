"""Reductions of quantized graphs, at a rank at which OpenVINO's CPU plugin computes them rightly.

The plugin carries 8-bit integers into a reduction and fuses the quantization behind it. At three
axes its kernel reads integers of the first sample only when it reduces over axis 1, and a maximum
or minimum with a result of two axes, quantized at once, comes out wrong. Both are right at four
axes that are all kept:

    x ─► Unsqueeze (to four axes) ─► Reduce <keepdims=1> ─► Squeeze ─► y
"""

from __future__ import annotations

import numpy as np
import onnx_ir

_REDUCTIONS = frozenset({"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"})
_RANK = 4


def lift_reductions(model: onnx_ir.Model) -> onnx_ir.Model:
    """A quantized graph with its reductions at four axes.

    Args:
        model: a canonical graph, which is not changed.

    Returns:
        A changed copy, or the graph itself where nothing is to be changed.
    """
    if not any(node.op_type == "QuantizeLinear" for node in model.graph):
        return model
    if not any(_axes_to_lift(node) for node in model.graph):
        return model
    changed = model.clone()
    for node in list(changed.graph):
        if axes := _axes_to_lift(node):
            _lift(changed.graph, node, axes)
    return changed


def _axes_to_lift(node: onnx_ir.Node) -> tuple[int, ...]:
    """The axes, counted from the front, of a reduction to lift; empty for any other node."""
    if node.op_type not in _REDUCTIONS or node.domain:
        return ()
    x = node.inputs[0]
    if x is None or x.shape is None:
        return ()
    rank = len(x.shape)
    listed = node.inputs[1] if len(node.inputs) > 1 else None
    if listed is None or listed.const_value is None:
        return ()
    axes = tuple(sorted({int(axis) % rank for axis in listed.const_value.numpy().ravel()}))
    results = rank if _keeps(node) else rank - len(axes)
    return axes if rank == 3 or (rank <= _RANK and results == 2) else ()


def _keeps(node: onnx_ir.Node) -> bool:
    keepdims = node.attributes.get("keepdims")
    return keepdims is None or keepdims.as_int() == 1


def _lift(graph: onnx_ir.Graph, node: onnx_ir.Node, axes: tuple[int, ...]) -> None:
    x, result = node.inputs[0], node.outputs[0]
    if x is None or x.shape is None:
        return
    added = tuple(range(len(x.shape), _RANK))
    gone = added if _keeps(node) else (*axes, *added)
    name = node.name or result.name
    if added:
        lifted = onnx_ir.Value(name=f"{name}/lifted", type=x.type)
        lifted.shape = onnx_ir.Shape([*x.shape, *(1 for _ in added)])
        operands = [x, _constant(graph, f"{name}/added", added)]
        graph.insert_before(
            node, onnx_ir.Node("", "Unsqueeze", operands, outputs=[lifted], name=f"{name}/lift")
        )
        node.replace_input_with(0, lifted)
    node.replace_input_with(1, _constant(graph, f"{name}/axes", axes))
    node.attributes["keepdims"] = onnx_ir.AttrInt64("keepdims", 1)
    if gone:
        _squeeze(graph, node, _constant(graph, f"{name}/gone", gone))


def _squeeze(graph: onnx_ir.Graph, node: onnx_ir.Node, axes: onnx_ir.Value) -> None:
    """Let a Squeeze of the node's result take the result's place."""
    result = node.outputs[0]
    label, name = node.name or result.name, result.name
    lowered = onnx_ir.Value(name=f"{label}/squeezed", type=result.type, shape=result.shape)
    result.shape = None
    result.replace_all_uses_with(lowered, replace_graph_outputs=True)
    graph.insert_after(
        node,
        onnx_ir.Node("", "Squeeze", [result, axes], outputs=[lowered], name=f"{label}/squeeze"),
    )
    result.name = f"{label}/kept"
    lowered.name = name


def _constant(graph: onnx_ir.Graph, name: str, axes: tuple[int, ...]) -> onnx_ir.Value:
    tensor = onnx_ir.tensor(np.array(axes, np.int64), name=name)
    value = onnx_ir.Value(
        name=name,
        type=onnx_ir.TensorType(tensor.dtype),
        shape=onnx_ir.Shape([len(axes)]),
        const_value=tensor,
    )
    graph.initializers[name] = value
    return value
