"""Recurrent nodes that share their input, in a form that OpenVINO's CPU plugin computes rightly.

ONNX's recurrent operators take time first, OpenVINO's batch first, so that its frontend puts a
Transpose before and after each. Where it finds both, the CPU plugin runs the sequence time first
and turns the Transpose before it into a Reshape, *for all that reads that Transpose*: with a
second node on the same input (the two directions of a Keras Bidirectional), or a Transpose of
that input, samples and steps of the other reader are mixed up as soon as there are two samples.
The plugin looks for one Transpose behind the sequence that undoes the frontend's. Results that
take another way out are not found, and every reader of the input is computed as ONNX says:

    Y ─► Transpose(1,0,2,3) ─► Split ─► Gather, Unsqueeze (each direction) ─► Concat ─► Y
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from edgekit.passes.canonicalize.rewrite import add_constant

_RECURRENT = frozenset({"GRU", "LSTM", "RNN"})
_SHARES = frozenset({*_RECURRENT, "Transpose"})
"""Readers of an input for which there will be one and the same Transpose."""


def separate_layouts(model: onnx_ir.Model) -> onnx_ir.Model:
    """The graph with a way out of its own for each recurrent node that shares its input.

    Args:
        model: a canonical graph, which is not changed.

    Returns:
        A changed copy, or the graph itself where no recurrent node shares its input.
    """
    if not any(_shares_input(node) for node in model.graph):
        return model
    changed = model.clone()
    for node in list(changed.graph):
        if _shares_input(node):
            _WayOut(changed.graph, node).write()
    return changed


def _shares_input(node: onnx_ir.Node) -> bool:
    """Whether a node is recurrent, gives Y, and another reader transposes the same input."""
    if node.op_type not in _RECURRENT or node.domain or node.inputs[0] is None:
        return False
    y = node.outputs[0]
    if not (y.uses() or y.is_graph_output()):
        return False
    readers = {use.node for use in node.inputs[0].uses()} - {node}
    return any(reader.op_type in _SHARES and not reader.domain for reader in readers)


class _WayOut:
    """Writes the nodes between one recurrent node and the readers of its Y."""

    def __init__(self, graph: onnx_ir.Graph, node: onnx_ir.Node) -> None:
        self._graph = graph
        self._node = node
        self._last = node
        self._count = 0

    def write(self) -> None:
        """Let the readers of Y read what comes out."""
        y = self._node.outputs[0]
        users = tuple(y.uses())
        (first,) = self._op("Transpose", [y], onnx_ir.AttrInt64s("perm", [1, 0, 2, 3]))
        directions = [first]
        if self._bidirectional():
            # The sizes are equal; an operand for them would only be one more constant.
            directions = self._op(
                "Split",
                [first],
                onnx_ir.AttrInt64("axis", 0),
                onnx_ir.AttrInt64("num_outputs", 2),
                outputs=2,
            )
        parts = [self._direction(value) for value in directions]
        result = parts[0]
        if len(parts) > 1:
            (result,) = self._op("Concat", parts, onnx_ir.AttrInt64("axis", 1))
        for reader, index in users:
            reader.replace_input_with(index, result)
        self._take_place(y, result)

    def _bidirectional(self) -> bool:
        direction = self._node.attributes.get("direction")
        return direction is not None and direction.as_string() == "bidirectional"

    def _direction(self, value: onnx_ir.Value) -> onnx_ir.Value:
        """One direction, [1, T, N, H], as [T, 1, N, H]."""
        (rows,) = self._op(
            "Gather", [value, self._constant(np.array(0, np.int64))], onnx_ir.AttrInt64("axis", 0)
        )
        return self._op("Unsqueeze", [rows, self._constant(np.array([1], np.int64))])[0]

    def _take_place(self, y: onnx_ir.Value, result: onnx_ir.Value) -> None:
        """Give the result the type, shape and, where it is an output, the name of Y."""
        result.type, result.shape = y.type, y.shape
        if not y.is_graph_output():
            return
        name = y.name
        for index, output in enumerate(self._graph.outputs):
            if output is y:
                self._graph.outputs[index] = result
        y.name = self._name("Y")
        result.name = name

    def _op(
        self,
        op: str,
        inputs: list[onnx_ir.Value],
        *attributes: onnx_ir.Attr,
        outputs: int = 1,
    ) -> list[onnx_ir.Value]:
        name = self._name(op)
        values = [
            onnx_ir.Value(name=f"{name}:{index}", type=self._node.outputs[0].type)
            for index in range(outputs)
        ]
        node = onnx_ir.Node("", op, inputs, attributes, outputs=values, name=name)
        self._graph.insert_after(self._last, node)
        self._last = node
        return values

    def _constant(self, array: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> onnx_ir.Value:
        return add_constant(self._graph, array, self._name("constant"))

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{self._node.name or self._node.outputs[0].name}/{what}_{self._count}"
