"""Integer inputs and outputs: takes the Q/DQ pairs off the edges of a graph."""

from __future__ import annotations

from dataclasses import dataclass

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
    does any edge with more than one scale.

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
    name = value.name
    value.name = f"{name}/dequantized"
    integers.name = name
    integers.dtype = _dtype(edge.dtype)
    integers.shape = value.shape
    graph.outputs[index] = integers
    if not value.uses() and not value.is_graph_output():
        graph.remove(node, safe=True)
    return edge


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
