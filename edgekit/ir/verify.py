"""The rules every IR graph keeps between passes."""

from __future__ import annotations

import onnx_ir

from edgekit.errors import EdgeKitError


class InvalidGraphError(EdgeKitError):
    """A graph breaks a rule of the IR: a bug in a pass or a frontend."""


def verify(model: onnx_ir.Model) -> None:
    """Check the structure of the main graph.

    Every value that is read is an input, an initializer with data, or the output of an earlier
    node; names are present and unique; outputs are produced.

    Raises:
        InvalidGraphError: naming the node and value at fault.
    """
    graph = model.graph
    known: set[int] = {id(v) for v in graph.inputs}
    names: dict[str, str] = {}
    for name, value in graph.initializers.items():
        if value.const_value is None and value not in graph.inputs:
            raise InvalidGraphError(f"initializer '{name}' has no data")
        known.add(id(value))
    for value in (*graph.inputs, *graph.initializers.values()):
        _claim(names, value, "the graph")
    for node in graph:
        where = f"{node.op_type} '{node.name}'"
        for value in node.inputs:
            if value is not None and id(value) not in known:
                raise InvalidGraphError(f"{where} reads '{value.name}' before it is produced")
        for value in node.outputs:
            known.add(id(value))
            _claim(names, value, where)
    for value in graph.outputs:
        if id(value) not in known:
            raise InvalidGraphError(f"output '{value.name}' is not produced")


def _claim(names: dict[str, str], value: onnx_ir.Value, where: str) -> None:
    if not value.name:
        if value.uses():
            raise InvalidGraphError(f"a value of {where} has no name")
        return
    key = value.name
    owner = names.setdefault(key, f"{where}:{id(value)}")
    if owner.rsplit(":", 1)[1] != str(id(value)):
        raise InvalidGraphError(f"'{key}' is defined by {where} and by {owner.rsplit(':', 1)[0]}")
