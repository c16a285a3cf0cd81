"""Removes what no output depends on."""

from __future__ import annotations

import onnx_ir

from edgekit.passes.base import DEFAULT_DOMAINS, InPlacePass, PassResult
from edgekit.passes.canonicalize.rewrite import sweep

_OPTIONAL_OUTPUTS = {
    "BatchNormalization": 1,
    "Dropout": 1,
    "GRU": 0,
    "LayerNormalization": 1,
    "LSTM": 0,
    "MaxPool": 1,
    "RNN": 0,
}
"""Index of the first output that may be left out."""


class RemoveDeadCode(InPlacePass):
    """Removes nodes and initializers that nobody reads, and names of optional outputs.

    ```
    before   a = Relu(x); b = Neg(x); y, h, c = LSTM(a, w, r); return y
    after    a = Relu(x);             y,  ,   = LSTM(a, w, r); return y
    ```

    Inputs stay, read or not: they are the model's contract.
    """

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Remove dead nodes, outputs and initializers."""
        modified = False
        for graph in tuple(model.graphs()):
            for node in reversed(tuple(graph)):
                if node.graph is None:
                    continue
                sweep(node)
                modified = modified or node.graph is None
                if node.graph is not None:
                    modified = _trim(node) or modified
            modified = _drop_constants(graph) or modified
        return PassResult(model, modified)


def _trim(node: onnx_ir.Node) -> bool:
    first = _OPTIONAL_OUTPUTS.get(node.op_type)
    modified = False
    if first is not None and node.domain in DEFAULT_DOMAINS:
        for value in node.outputs[first:]:
            if value.name and not value.uses() and not value.is_graph_output():
                value.name = ""
                modified = True
        count = len(node.outputs)
        while count > 1 and not node.outputs[count - 1].name:
            count -= 1
        if count < len(node.outputs):
            node.resize_outputs(count)
    count = len(node.inputs)
    while count and node.inputs[count - 1] is None:
        count -= 1
    if count < len(node.inputs):
        node.resize_inputs(count)
        modified = True
    return modified


def _drop_constants(graph: onnx_ir.Graph) -> bool:
    dead = [
        name
        for name, value in graph.initializers.items()
        if not (value.uses() or value.is_graph_output() or value.is_graph_input())
    ]
    for name in dead:
        graph.initializers.pop(name)
    return bool(dead)
