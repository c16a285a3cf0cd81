"""Gives every node and every value a name of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import onnx_ir

from edgekit.passes.base import InPlacePass, PassResult
from edgekit.passes.canonicalize.rewrite import share_names

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.:/-]+")


class NameValues(InPlacePass):
    """Names what has no name, makes names unique in the whole model, and replaces odd characters.

    ```
    before   ?  = Conv(x, 'layer 1;w')        (nameless node, nameless output)
    after    Conv_0: Conv_0_out = Conv(x, layer_1_w)
    ```

    Inputs and outputs keep the names that the source gives them, whatever they are.
    """

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Name everything."""
        fixed = (*model.graph.inputs, *model.graph.outputs)
        names = _Names({value.name for value in fixed if value.name})
        keep = set(fixed)
        modified = False
        for value in _values(model):
            if value not in keep:
                modified = names.give(value, _base(value)) or modified
        nodes = _Names(set())
        for graph in model.graphs():
            for node in graph:
                modified = nodes.give(node, node.name or node.op_type) or modified
        share_names(model)
        return PassResult(model, modified)


class _Names:
    """The names given so far."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken
        self._next: dict[str, int] = {}

    def give(self, item: onnx_ir.Value | onnx_ir.Node, wanted: str) -> bool:
        """Name `item` after `wanted`; says whether it had another name."""
        base = _FORBIDDEN.sub("_", wanted)
        name = base if item.name else ""
        while not name or name in self._taken:
            number = self._next.get(base, 0)
            self._next[base] = number + 1
            name = f"{base}_{number}"
        self._taken.add(name)
        if name == item.name:
            return False
        item.name = name
        return True


def _base(value: onnx_ir.Value) -> str:
    if value.name:
        return value.name
    node = value.producer()
    return f"{node.name or node.op_type}_out" if node is not None else "value"


def _values(model: onnx_ir.Model) -> Iterator[onnx_ir.Value]:
    """All values but the omitted outputs of nodes; initializers and inputs of bodies included."""
    for graph in model.graphs():
        if graph is not model.graph:
            yield from graph.inputs
        yield from tuple(graph.initializers.values())
        for node in graph:
            used = (v for v in node.outputs if v.name or v.uses() or len(node.outputs) == 1)
            yield from used
