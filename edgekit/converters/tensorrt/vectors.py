"""Softmax over a vector, which TensorRT refuses, as Softmax over the only row of a matrix."""

from __future__ import annotations

import numpy as np
import onnx_ir

_OPS = frozenset({"LogSoftmax", "Softmax"})


def widen_vectors(model: onnx_ir.Model) -> None:
    """Put an axis before the vectors that a Softmax or LogSoftmax reads, in place."""
    for node in list(model.graph):
        if node.op_type not in _OPS or node.domain:
            continue
        x = node.inputs[0]
        if x is not None and x.shape is not None and len(x.shape) == 1:
            _widen(model.graph, node, x)


def _widen(graph: onnx_ir.Graph, node: onnx_ir.Node, x: onnx_ir.Value) -> None:
    result, label = node.outputs[0], node.name or node.outputs[0].name
    name = result.name
    axis = _axis(graph, f"{label}/axis")
    row = onnx_ir.Value(name=f"{label}/row", type=x.type)
    if x.shape is not None:
        row.shape = onnx_ir.Shape([1, *x.shape])
    vector = onnx_ir.Value(name=f"{label}/vector", type=result.type, shape=result.shape)
    result.shape = row.shape
    result.replace_all_uses_with(vector, replace_graph_outputs=True)
    node.replace_input_with(0, row)
    node.attributes["axis"] = onnx_ir.AttrInt64("axis", -1)
    graph.insert_before(
        node, onnx_ir.Node("", "Unsqueeze", [x, axis], outputs=[row], name=f"{label}/widen")
    )
    graph.insert_after(
        node, onnx_ir.Node("", "Squeeze", [result, axis], outputs=[vector], name=f"{label}/narrow")
    )
    result.name = f"{label}/wide"
    vector.name = name


def _axis(graph: onnx_ir.Graph, name: str) -> onnx_ir.Value:
    tensor = onnx_ir.tensor(np.array([0], np.int64), name=name)
    value = onnx_ir.Value(
        name=name,
        type=onnx_ir.TensorType(tensor.dtype),
        shape=onnx_ir.Shape([1]),
        const_value=tensor,
    )
    graph.initializers[name] = value
    return value
