"""Lets equal computations be one."""

from __future__ import annotations

from collections.abc import Hashable

import onnx_ir

from edgekit.passes.base import InPlacePass, PassResult
from edgekit.passes.canonicalize.rewrite import replace, subgraphs

_RANDOM = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)


class EliminateCommon(InPlacePass):
    """Keeps one of several nodes of the same type, inputs and attributes.

    ```
    before   a = Sub(x, m); b = Sub(x, m); y = Mul(a, b)
    after    a = Sub(x, m);                y = Mul(a, a)
    ```

    Identity (it carries the name of an output), random numbers and control flow stay.
    """

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Merge equal nodes within each graph."""
        modified = False
        for graph in model.graphs():
            first: dict[Hashable, onnx_ir.Node] = {}
            for node in tuple(graph):
                if node.op_type in _RANDOM or node.op_type == "Identity" or subgraphs(node):
                    continue
                kept = first.setdefault(_key(node), node)
                if kept is not node and _merge(node, kept):
                    modified = True
        return PassResult(model, modified)


def _merge(node: onnx_ir.Node, kept: onnx_ir.Node) -> bool:
    pairs = list(zip(tuple(node.outputs), kept.outputs, strict=True))
    if any(_used(old) and not new.name for old, new in pairs):
        return False
    modified = False
    for old, new in pairs:
        if _used(old):
            replace(old, new)
            modified = True
    return modified


def _used(value: onnx_ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _key(node: onnx_ir.Node) -> Hashable:
    inputs = tuple(None if value is None else id(value) for value in node.inputs)
    attributes = tuple(sorted((name, _plain(a)) for name, a in node.attributes.items()))
    return node.domain, node.op_type, node.overload, len(node.outputs), inputs, attributes


def _plain(attr: onnx_ir.Attr) -> str:
    value = attr.value
    if attr.type == onnx_ir.AttributeType.TENSOR:
        tensor = attr.as_tensor()
        return f"{tensor.dtype}{tensor.shape}{tensor.tobytes()!r}"
    return repr(tuple(value) if isinstance(value, (list, tuple)) else value)
