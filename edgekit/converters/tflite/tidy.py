"""Clean-up of a lowered graph: reshapes that follow each other, and what nobody reads."""

from __future__ import annotations

import numpy as np

from edgekit.converters.tflite.graph import Graph, Operator, Tensor

_PURE = frozenset({"CAST", "DEQUANTIZE", "GATHER", "QUANTIZE", "RESHAPE", "SHAPE", "TRANSPOSE"})


def tidy(graph: Graph) -> None:
    """Merge reshapes, drop those that change nothing, remove dead operators; in place."""
    _merge_reshapes(graph)
    _drop_copies(graph)
    _remove_dead(graph)


def _merge_reshapes(graph: Graph) -> None:
    made: dict[int, Operator] = {}
    for operator in graph.operators:
        for result in operator.outputs:
            made[id(result)] = operator
        if operator.builtin != "RESHAPE" or operator.inputs[0] is None:
            continue
        before = made.get(id(operator.inputs[0]))
        if before is not None and before.builtin == "RESHAPE":
            operator.inputs[0] = before.inputs[0]


def _drop_copies(graph: Graph) -> None:
    kept_names = {id(tensor) for _, tensor in graph.outputs}
    same: dict[int, Tensor] = {}
    for operator in graph.operators:
        operator.inputs = [t if t is None else same.get(id(t), t) for t in operator.inputs]
        if operator.builtin == "RESHAPE" and id(operator.outputs[0]) not in kept_names:
            source = operator.inputs[0]
            if source is not None and _same_shape(source, operator):
                same[id(operator.outputs[0])] = source


def _same_shape(source: Tensor, operator: Operator) -> bool:
    """Whether a reshape gives what it takes: at most one size is left to be computed."""
    shape = operator.inputs[1]
    if shape is None or shape.data is None or source.shape != operator.outputs[0].shape:
        return False
    return int(np.count_nonzero(shape.data < 0)) <= 1


def _remove_dead(graph: Graph) -> None:
    read = {id(tensor) for _, tensor in graph.outputs}
    kept: list[Operator] = []
    for operator in reversed(graph.operators):
        if operator.builtin in _PURE and not any(id(t) in read for t in operator.outputs):
            continue
        read.update(id(t) for t in operator.inputs if t is not None)
        kept.append(operator)
    graph.operators = kept[::-1]
