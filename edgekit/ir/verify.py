"""The rules every IR graph keeps between passes."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir

from edgekit.errors import EdgeKitError


class InvalidGraphError(EdgeKitError):
    """A graph breaks a rule of the IR: a bug in a pass or a frontend."""


def verify(model: onnx_ir.Model) -> None:
    """Check the structure of the main graph and of the bodies inside it.

    - The opset of the standard operators is declared.
    - Every value that is read is an input, an initializer with data, or the output of an earlier
      node, in the same graph or in one around it. A graph in this order has no cycle.
    - Values that are read have names; names are unique within a graph and do not hide those of
      the graphs around it.
    - The type and shape of an initializer are those of its data.
    - Outputs are produced.

    It costs some microseconds a node, so passes may call it freely.

    Raises:
        InvalidGraphError: naming the node and value at fault.
    """
    graph = model.graph
    imports = graph.opset_imports
    if "" not in imports and "ai.onnx" not in imports:
        raise InvalidGraphError("the graph does not declare the opset of its operators")
    _verify(graph, frozenset(), {})


def _verify(graph: onnx_ir.Graph, outer: frozenset[int], outer_names: dict[str, int]) -> None:
    known = set(outer)
    names = dict(outer_names)
    for value in (*graph.inputs, *graph.initializers.values()):
        known.add(id(value))
        _claim(names, value, "the graph")
    for key, value in graph.initializers.items():
        _check_constant(key, value)
    for node in graph:
        if node.graph is not graph:
            raise InvalidGraphError(f"{_where(node)} belongs to another graph")
        for read in node.inputs:
            if read is not None and id(read) not in known:
                raise InvalidGraphError(f"{_where(node)} reads '{read.name}' before it is produced")
        for body in _bodies(node):
            _verify(body, frozenset(known), names)
        for value in node.outputs:
            known.add(id(value))
            if value.name or value.uses():
                _claim(names, value, _where(node))
    for value in graph.outputs:
        if id(value) not in known:
            raise InvalidGraphError(f"output '{value.name}' is not produced")


def _check_constant(key: str, value: onnx_ir.Value) -> None:
    tensor = value.const_value
    if key != value.name:
        raise InvalidGraphError(f"initializer '{value.name}' is registered as '{key}'")
    if tensor is None:
        if value.is_graph_input():
            return
        raise InvalidGraphError(f"initializer '{key}' has no data")
    if value.dtype is not None and value.dtype != tensor.dtype:
        raise InvalidGraphError(
            f"initializer '{key}' is declared {value.dtype}, its data is {tensor.dtype}"
        )
    if value.shape is not None and value.shape != tensor.shape:
        raise InvalidGraphError(
            f"initializer '{key}' is declared {value.shape}, its data is {tensor.shape}"
        )


def _claim(names: dict[str, int], value: onnx_ir.Value, where: str) -> None:
    if not value.name:
        raise InvalidGraphError(f"a value of {where} has no name")
    if names.setdefault(value.name, id(value)) != id(value):
        raise InvalidGraphError(f"'{value.name}' of {where} has the name of another value")


def _bodies(node: onnx_ir.Node) -> Iterator[onnx_ir.Graph]:
    for attr in node.attributes.values():
        if attr.type == onnx_ir.AttributeType.GRAPH:
            yield attr.as_graph()
        elif attr.type == onnx_ir.AttributeType.GRAPHS:
            yield from attr.as_graphs()


def _where(node: onnx_ir.Node) -> str:
    return f"{node.op_type} '{node.name}'"
