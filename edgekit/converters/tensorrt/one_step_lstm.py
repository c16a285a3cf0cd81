"""LSTMs over a single time step, spelled out as the products and activations of that step.

Streaming models call an LSTM with one step and carry its state outside. TensorRT imports LSTM as
a loop, and its compiler fails on a loop of one step whose states are outputs. Without the loop
there is nothing to fail on, and less to run:

    gates = x·Wᵀ + h·Rᵀ + b        i, o, f, c = split(gates)
    C = σ(f)·C₀ + σ(i)·tanh(c)      H = σ(o)·tanh(C)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.converters.constants import drop_unused_constants
from edgekit.passes.canonicalize.rewrite import add_constant

_FLOAT = onnx_ir.DataType.FLOAT
_PLAIN = ("Sigmoid", "Tanh", "Tanh")


def spell_out_single_steps(model: onnx_ir.Model) -> None:
    """Replace the LSTMs of one step of a graph, in place."""
    for node in list(model.graph):
        if node.op_type == "LSTM" and _is_plain(node):
            _Step(model.graph, node).write()
    drop_unused_constants(model.graph)


def _is_plain(node: onnx_ir.Node) -> bool:
    """Whether a node has one forward step, constant weights and nothing unusual."""
    x, *weights = (_input(node, index) for index in (0, 1, 2))
    if x is None or x.dtype != _FLOAT or x.shape is None or len(x.shape) != 3 or x.shape[0] != 1:
        return False
    if not all(w is not None and w.const_value is not None for w in weights):
        return False
    bias, lengths, peepholes = (_input(node, index) for index in (3, 4, 7))
    if (bias is not None and bias.const_value is None) or lengths is not None or peepholes:
        return False
    attributes = node.attributes
    activations = attributes["activations"].as_strings() if "activations" in attributes else _PLAIN
    return (
        tuple(activations) == _PLAIN
        and ("direction" not in attributes or attributes["direction"].as_string() == "forward")
        and not any(name in attributes for name in ("clip", "activation_alpha", "activation_beta"))
        and not any(
            attributes[name].as_int() for name in ("input_forget", "layout") if name in attributes
        )
    )


def _input(node: onnx_ir.Node, index: int) -> onnx_ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


class _Step:
    """Writes the step of one LSTM before its node, and takes the node away."""

    def __init__(self, graph: onnx_ir.Graph, node: onnx_ir.Node) -> None:
        self._graph = graph
        self._node = node
        self._count = 0
        self._hidden = self._weights(2).shape[1]

    def write(self) -> None:
        """Replace the node."""
        node, hidden = self._node, self._hidden
        gates = self._gates()
        sizes = self._constant(np.full(4, hidden, np.int64))
        i, o, f, c = self._op("Split", [gates, sizes], outputs=4, axis=1)
        keep, take, give = (self._op("Sigmoid", [gate])[0] for gate in (f, i, o))
        cell = self._op("Mul", [take, *self._op("Tanh", [c])])
        before = self._state(6)
        if before is not None:
            cell = self._op("Add", [*self._op("Mul", [keep, before]), *cell])
        state = self._op("Mul", [give, *self._op("Tanh", cell)])
        results = (state[0], state[0], cell[0])
        for output, value, rank in zip(node.outputs, results, (4, 3, 3), strict=False):
            if output.uses() or output.is_graph_output():
                self._replace(output, value, rank)
        self._graph.remove(node, safe=True)

    def _gates(self) -> onnx_ir.Value:
        inputs = self._flat(self._node.inputs[0], self._weights(1).shape[1])
        bias = _input(self._node, 3)
        extra = []
        if bias is not None:
            both = self._weights(3).reshape(2, -1)
            extra = [self._constant(both[0] + both[1])]
        weights = self._constant(self._weights(1))
        (gates,) = self._op("Gemm", [inputs, weights, *extra], transB=1)
        before = self._state(5)
        if before is None:
            return gates
        recurrent = self._op("Gemm", [before, self._constant(self._weights(2))], transB=1)
        return self._op("Add", [gates, *recurrent])[0]

    def _weights(self, index: int) -> NDArray[Any]:
        """A constant operand without its axis of directions."""
        value = self._node.inputs[index]
        if value is None or value.const_value is None:
            raise ValueError(f"operand {index} is not a constant")
        array: NDArray[Any] = value.const_value.numpy()[0]
        return array

    def _state(self, index: int) -> onnx_ir.Value | None:
        value = _input(self._node, index)
        return None if value is None else self._flat(value, self._hidden)

    def _flat(self, value: onnx_ir.Value | None, width: int) -> onnx_ir.Value:
        return self._op("Reshape", [value, self._constant(np.array([-1, width], np.int64))])[0]

    def _replace(self, output: onnx_ir.Value, value: onnx_ir.Value, rank: int) -> None:
        target = np.array([1] * (rank - 2) + [-1, self._hidden], np.int64)
        (shaped,) = self._op("Reshape", [value, self._constant(target)])
        shaped.shape, name = output.shape, output.name
        output.replace_all_uses_with(shaped, replace_graph_outputs=True)
        output.name = None
        shaped.name = name

    def _op(
        self,
        op: str,
        inputs: list[onnx_ir.Value | None] | list[onnx_ir.Value],
        outputs: int = 1,
        **attributes: int,
    ) -> list[onnx_ir.Value]:
        name = self._name(op)
        values = [
            onnx_ir.Value(name=f"{name}:{index}", type=onnx_ir.TensorType(_FLOAT))
            for index in range(outputs)
        ]
        items = [onnx_ir.AttrInt64(key, value) for key, value in attributes.items()]
        self._graph.insert_before(
            self._node, onnx_ir.Node("", op, inputs, items, outputs=values, name=name)
        )
        return values

    def _constant(self, array: NDArray[Any]) -> onnx_ir.Value:
        return add_constant(self._graph, array, self._name("constant"))

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{self._node.name or self._node.outputs[0].name}/{what}_{self._count}"
