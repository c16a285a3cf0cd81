"""Clean-up of a lowered graph.

Reshapes that follow each other are merged, those that change nothing are dropped, and those around
a product or behind a reduction are left to these operators themselves; a bias that
is added to a product moves into it; a product takes the transpose of its right side upon itself;
what nobody reads is removed.
"""

from __future__ import annotations

import numpy as np

from edgekit.converters.tflite.graph import Graph, Operator, Tensor

_PURE = frozenset({"CAST", "DEQUANTIZE", "GATHER", "QUANTIZE", "RESHAPE", "SHAPE", "TRANSPOSE"})


class _Uses:
    """Who makes and who reads each tensor."""

    def __init__(self, graph: Graph) -> None:
        self.made: dict[int, Operator] = {}
        self.read: dict[int, int] = {}
        for operator in graph.operators:
            self.made.update((id(tensor), operator) for tensor in operator.outputs)
            for tensor in operator.inputs:
                if tensor is not None:
                    self.read[id(tensor)] = self.read.get(id(tensor), 0) + 1
        for _, tensor in graph.outputs:
            self.read[id(tensor)] = self.read.get(id(tensor), 0) + 1

    def maker(self, tensor: Tensor | None, builtin: str) -> Operator | None:
        """The operator of a kind that makes a tensor for one reader only."""
        found = self.made.get(id(tensor))
        if found is None or found.builtin != builtin or self.read.get(id(tensor)) != 1:
            return None
        return found


def tidy(graph: Graph) -> None:
    """Clean up a graph in place."""
    _merge_reshapes(graph)
    _drop_copies(graph)
    _drop_kept_axes(graph)
    _keep_axes_of_products(graph)
    _fold_biases(graph)
    _absorb_transposes(graph)
    _remove_dead(graph)


def _merge_reshapes(graph: Graph) -> None:
    made = _Uses(graph).made
    for operator in graph.operators:
        if operator.builtin == "RESHAPE":
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


def _drop_kept_axes(graph: Graph) -> None:
    """A reshape that drops the axes which a reduction has kept with size 1."""
    uses = _Uses(graph)
    gone: set[int] = set()
    for operator in graph.operators:
        if operator.builtin != "RESHAPE":
            continue
        for builtin in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"):
            reduction = uses.maker(operator.inputs[0], builtin)
            if reduction is not None and _drops_reduced(reduction, operator.outputs[0]):
                reduction.options.keepDims = False
                reduction.outputs = operator.outputs
                gone.add(id(operator))
    graph.operators = [operator for operator in graph.operators if id(operator) not in gone]


def _drops_reduced(reduction: Operator, result: Tensor) -> bool:
    axes = reduction.inputs[1]
    if axes is None or axes.data is None or not reduction.options.keepDims:
        return False
    shape = reduction.outputs[0].shape
    reduced = {int(axis) % len(shape) for axis in axes.data.reshape(-1)}
    return result.shape == tuple(s for axis, s in enumerate(shape) if axis not in reduced)


def _keep_axes_of_products(graph: Graph) -> None:
    """[.., a, k] → RESHAPE [m, k] → FULLY_CONNECTED [m, n] → RESHAPE [.., a, n], in one."""
    uses = _Uses(graph)
    gone: set[int] = set()
    for operator in graph.operators:
        product = uses.maker(operator.inputs[0], "FULLY_CONNECTED")
        if operator.builtin != "RESHAPE" or product is None:
            continue
        before = uses.made.get(id(product.inputs[0]))
        source = before.inputs[0] if before is not None and before.builtin == "RESHAPE" else None
        if source is None or source.rank < 2 or product.inputs[0] is None:
            continue
        result = operator.outputs[0].shape
        if result == (*source.shape[:-1], product.outputs[0].shape[-1]) and (
            source.shape[-1] == product.inputs[0].shape[-1]
        ):
            product.inputs[0] = source
            product.outputs = operator.outputs
            product.options.keepNumDims = source.rank != 2
            gone.add(id(operator))
    graph.operators = [operator for operator in graph.operators if id(operator) not in gone]


def _fold_biases(graph: Graph) -> None:
    """FULLY_CONNECTED + ADD of a constant row → FULLY_CONNECTED with a bias, in float."""
    uses = _Uses(graph)
    gone: set[int] = set()
    for operator in graph.operators:
        if operator.builtin != "ADD" or operator.outputs[0].quantization is not None:
            continue
        for side in (0, 1):
            product = uses.maker(operator.inputs[side], "FULLY_CONNECTED")
            row = _bias_row(product, operator, operator.inputs[1 - side])
            if product is None or row is None:
                continue
            product.inputs[2] = row
            product.outputs = operator.outputs
            activation = operator.options.fusedActivationFunction
            product.options.fusedActivationFunction = activation
            gone.add(id(operator))
            break
    graph.operators = [operator for operator in graph.operators if id(operator) not in gone]


def _bias_row(product: Operator | None, add: Operator, term: Tensor | None) -> Tensor | None:
    """The added constant as a vector of one number for each column; None when it is not that."""
    if product is None or term is None or term.data is None or term.dtype != "float32":
        return None
    if product.inputs[2] is not None or product.options.fusedActivationFunction:
        return None
    columns = add.outputs[0].shape[-1] if add.outputs[0].shape else None
    if product.outputs[0].shape != add.outputs[0].shape or term.data.size != columns:
        return None
    if term.shape[-1] != columns:
        return None
    return Tensor(term.name, term.dtype, (columns,), term.data.reshape(-1))


def _absorb_transposes(graph: Graph) -> None:
    """A right side whose last two axes are swapped is what BATCH_MATMUL calls adjoint."""
    uses = _Uses(graph)
    for operator in graph.operators:
        if operator.builtin != "BATCH_MATMUL":
            continue
        swap = uses.maker(operator.inputs[1], "TRANSPOSE")
        if swap is not None and _swaps_last_two(swap):
            operator.inputs[1] = swap.inputs[0]
            operator.options.adjY = not operator.options.adjY


def _swaps_last_two(operator: Operator) -> bool:
    perm = operator.inputs[1]
    if perm is None or perm.data is None or perm.data.size < 2:
        return False
    order = perm.data.tolist()
    size = len(order)
    return bool(order == [*range(size - 2), size - 1, size - 2])


def _remove_dead(graph: Graph) -> None:
    read = {id(tensor) for _, tensor in graph.outputs}
    kept: list[Operator] = []
    for operator in reversed(graph.operators):
        if operator.builtin in _PURE and not any(id(t) in read for t in operator.outputs):
            continue
        read.update(id(t) for t in operator.inputs if t is not None)
        kept.append(operator)
    graph.operators = kept[::-1]
