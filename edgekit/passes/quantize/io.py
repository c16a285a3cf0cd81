"""Integer inputs and outputs: takes the Q/DQ pairs off the edges of a graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from edgekit.ir.model import Model
from edgekit.ir.verify import verify


@dataclass(frozen=True)
class Edge:
    """What the integers of an input or output mean: real = (integer − zero_point) × scale.

    Attributes:
        dtype: NumPy name of the integer type.
        scale: positive.
        zero_point: the integer that stands for zero.
    """

    dtype: str
    scale: float
    zero_point: int


def quantized_io(model: Model) -> tuple[Model, dict[str, Edge]]:
    """Make the inputs and outputs of a Q/DQ graph integers.

    An input that only QuantizeLinear reads becomes the integers that come out of it; an output
    that comes from DequantizeLinear becomes the integers that go in. Others stay as they are, as
    does any edge with more than one scale. All integers are int8, whatever the target computes
    in, so that one data file feeds every artifact: uint8 edges get a step that shifts by 128.

    Args:
        model: a graph with Q/DQ pairs. It is not changed.

    Returns:
        The new model, and the parameters of each input and output that changed, by name.
    """
    result = model.clone()
    graph = result.graph
    edges: dict[str, Edge] = {}
    for index, name in enumerate([value.name or "" for value in graph.inputs]):
        if (edge := _integer_input(graph, index)) is not None:
            edges[name] = edge
    for index, name in enumerate([value.name or "" for value in graph.outputs]):
        if (edge := _integer_output(graph, index)) is not None:
            edges[name] = edge
    _drop_unused_initializers(graph)
    verify(result.ir)
    return result, edges


def _integer_input(graph: onnx_ir.Graph, index: int) -> Edge | None:
    value = graph.inputs[index]
    readers = [use.node for use in value.uses()]
    if value.is_graph_output() or not readers:
        return None
    edges = [_edge(node) if node.op_type == "QuantizeLinear" else None for node in readers]
    if edges[0] is None or any(edge != edges[0] for edge in edges):
        return None
    if edges[0].dtype == "uint8":
        return _shifted_input(graph, index, edges[0])
    integers = onnx_ir.Value(
        name=value.name, shape=value.shape, type=onnx_ir.TensorType(_dtype(edges[0].dtype))
    )
    value.name = None
    for node in readers:
        node.outputs[0].replace_all_uses_with(integers, replace_graph_outputs=True)
        graph.remove(node, safe=True)
    graph.inputs[index] = integers
    return edges[0]


def _integer_output(graph: onnx_ir.Graph, index: int) -> Edge | None:
    value = graph.outputs[index]
    node = value.producer()
    if node is None or node.op_type != "DequantizeLinear":
        return None
    edge, integers = _edge(node), node.inputs[0]
    if edge is None or integers is None or integers.const_value is not None:
        return None
    if integers.is_graph_input() or integers.is_graph_output():
        return None
    if edge.dtype == "uint8":
        return _shifted_output(graph, index, edge)
    name = value.name
    value.name = f"{name}/dequantized"
    integers.name = name
    integers.dtype = _dtype(edge.dtype)
    integers.shape = value.shape
    graph.outputs[index] = integers
    if not value.uses() and not value.is_graph_output():
        graph.remove(node, safe=True)
    return edge


def _shifted_input(graph: onnx_ir.Graph, index: int, edge: Edge) -> Edge:
    """Input float → Q uint8 becomes int8 → DQ int8 → Q uint8, which loses nothing."""
    value, signed = graph.inputs[index], _signed(edge)
    integers = onnx_ir.Value(
        name=value.name, shape=value.shape, type=onnx_ir.TensorType(onnx_ir.DataType.INT8)
    )
    real = f"{value.name}/real"
    value.name = None
    node = _node(graph, "DequantizeLinear", integers, signed, real, onnx_ir.DataType.FLOAT)
    graph.insert_before(graph[0], node)
    value.replace_all_uses_with(node.outputs[0])
    graph.inputs[index] = integers
    return signed


def _shifted_output(graph: onnx_ir.Graph, index: int, edge: Edge) -> Edge:
    """DQ uint8 → output float becomes DQ uint8 → Q int8 → output int8, which loses nothing."""
    value, signed = graph.outputs[index], _signed(edge)
    name = value.name or ""
    value.name = f"{name}/real"
    node = _node(graph, "QuantizeLinear", value, signed, name, onnx_ir.DataType.INT8)
    graph.append(node)
    graph.outputs[index] = node.outputs[0]
    return signed


def _signed(edge: Edge) -> Edge:
    return Edge("int8", edge.scale, edge.zero_point - 128)


def _node(
    graph: onnx_ir.Graph,
    op: str,
    source: onnx_ir.Value,
    edge: Edge,
    result: str,
    dtype: onnx_ir.DataType,
) -> onnx_ir.Node:
    """A Q or DQ node with its parameters, not in the graph yet."""
    parameters = []
    for what, array in (
        ("scale", np.array(edge.scale, np.float32)),
        ("zero_point", np.array(edge.zero_point, edge.dtype)),
    ):
        constant = onnx_ir.tensor(array, name=f"{result}/edge_{what}")
        parameters.append(onnx_ir.val(constant.name or what, const_value=constant))
        graph.register_initializer(parameters[-1])
    output = onnx_ir.Value(name=result, shape=source.shape, type=onnx_ir.TensorType(dtype))
    return onnx_ir.node(op, [source, *parameters], outputs=[output], name=f"{result}/{op}")


def _edge(node: onnx_ir.Node) -> Edge | None:
    """The parameters of a per-tensor Q or DQ node; None for any other."""
    scale, zero_point = (node.inputs[i] if i < len(node.inputs) else None for i in (1, 2))
    if scale is None or scale.const_value is None or scale.const_value.size != 1:
        return None
    if zero_point is None or zero_point.const_value is None:
        return None
    zero = zero_point.const_value.numpy().reshape(())
    return Edge(zero.dtype.name, float(scale.const_value.numpy().reshape(())), int(zero))


def _dtype(name: str) -> onnx_ir.DataType:
    return onnx_ir.DataType[name.upper()]


def _drop_unused_initializers(graph: onnx_ir.Graph) -> None:
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
            del graph.initializers[name]
