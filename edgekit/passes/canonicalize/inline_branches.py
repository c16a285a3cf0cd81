"""Replaces an If with a known condition by the branch that is taken."""

from __future__ import annotations

import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.rewrite import constant, fresh_name, graph_of, replace


class InlineBranches(NodePass):
    """Takes the branch of an If whose condition has become a constant.

    ```
    before   y = If(true) { then: a = Squeeze(x); return a    else: return x }
    after    y = Squeeze(x)
    ```
    """

    ops = frozenset({"If"})

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Inline one If."""
        condition = constant(node.inputs[0])
        if condition is None or condition.size != 1:
            return False
        taken = node.attributes["then_branch" if condition.reshape(-1)[0] else "else_branch"]
        body, graph = taken.as_graph(), graph_of(node)
        results = list(body.outputs)
        _move_constants(body, graph)
        body.outputs.clear()
        for inner in tuple(body):
            body.remove(inner)
            for value in inner.outputs:
                if value.name:
                    value.name = fresh_name(graph, value.name)
            inner.name = fresh_name(graph, inner.name or inner.op_type)
            graph.insert_before(node, inner)
        for output, result in zip(tuple(node.outputs), results, strict=True):
            if output.uses() or output.is_graph_output():
                replace(output, result)
        return True


def _move_constants(body: onnx_ir.Graph, graph: onnx_ir.Graph) -> None:
    for value in tuple(body.initializers.values()):
        body.initializers.pop(value.name or "")
        value.name = fresh_name(graph, value.name or "constant")
        graph.register_initializer(value)
