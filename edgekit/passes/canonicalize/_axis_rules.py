"""Which operators can be computed on permuted tensors, and what has to change in them.

A rule gives a node a *label*, from which follow the permutation that each operand must arrive in
and the one that each result leaves in. `None` for an operand means that it is left alone: a
scalar, a list of axes, or a constant that `apply` rewrites.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.passes.canonicalize._axis_edits import (
    dims_of,
    int_of,
    normalized,
    permute_shape,
    replace_constant,
    set_int,
)
from edgekit.passes.canonicalize.permutations import Perm, identity, with_axes, without
from edgekit.passes.canonicalize.rewrite import constant, input_at
from edgekit.passes.canonicalize.rewrite import rank as rank_of

Label = Any
"""What a rule says about a node: a permutation for most, hashable always."""


@dataclass(frozen=True)
class Ports:
    """Permutations of a node's operands and results under one label."""

    inputs: tuple[Perm | None, ...]
    outputs: tuple[Perm, ...]


class Rule(ABC):
    """How one kind of node behaves when its axes are permuted."""

    @abstractmethod
    def neutral(self, node: onnx_ir.Node) -> Label | None:
        """The label of the node as it is; None when the rule does not cover it."""

    @abstractmethod
    def ports(self, node: onnx_ir.Node, label: Label) -> Ports | None:
        """What the label means; None when the node cannot have it."""

    @abstractmethod
    def propose(self, node: onnx_ir.Node, port: int, perm: Perm, variant: int) -> Label | None:
        """A label under which a port has a permutation.

        Args:
            node: the node.
            port: an operand's index, or -1 - index of a result.
            perm: what the port should have.
            variant: which of several such labels, below `VARIANTS`.
        """

    @abstractmethod
    def apply(self, node: onnx_ir.Node, label: Label) -> None:
        """Rewrite the node's attributes and constants, and its results' shapes."""


class SameRank(Rule):
    """Nodes whose label is a permutation of one frame, shared by data operands and results."""

    def __init__(self, data: Callable[[onnx_ir.Node], Sequence[int]]) -> None:
        self._data = data

    def frame(self, node: onnx_ir.Node) -> int | None:
        """Rank that labels have."""
        return rank_of(node.outputs[0])

    def neutral(self, node: onnx_ir.Node) -> Label | None:
        rank = self.frame(node)
        if rank is None or rank == 0:
            return None
        return identity(rank) if self.ports(node, identity(rank)) is not None else None

    def ports(self, node: onnx_ir.Node, label: Label) -> Ports | None:
        inputs: list[Perm | None] = [None] * len(node.inputs)
        for index in self._data(node):
            value = input_at(node, index)
            if value is None:
                continue
            if rank_of(value) != len(label):
                return None
            inputs[index] = label
        if not self.allows(node, label) or any(rank_of(v) != len(label) for v in node.outputs):
            return None
        return Ports(tuple(inputs), (label,) * len(node.outputs))

    def allows(self, node: onnx_ir.Node, label: Perm) -> bool:
        """Whether the node can be rewritten for the label."""
        return True

    def propose(self, node: onnx_ir.Node, port: int, perm: Perm, variant: int) -> Label | None:
        return perm if self.ports(node, perm) is not None else None

    def apply(self, node: onnx_ir.Node, label: Label) -> None:
        self.edit(node, label)
        for value in node.outputs:
            permute_shape(value, label)

    def edit(self, node: onnx_ir.Node, label: Perm) -> None:
        """Rewrite attributes and constants."""


class Broadcast(SameRank):
    """Element-wise operators with NumPy broadcasting."""

    def __init__(self) -> None:
        super().__init__(lambda node: range(len(node.inputs)))

    def ports(self, node: onnx_ir.Node, label: Label) -> Ports | None:
        rank = len(label)
        inputs: list[Perm | None] = []
        for value in node.inputs:
            own = rank_of(value)
            if value is None or own is None:
                return None
            if own == rank:
                inputs.append(label)
            elif own == 0 or value.const_value is not None or set(dims_of(value)) == {1}:
                inputs.append(None)
            elif own < rank and set(label[: rank - own]) == set(range(rank - own)):
                inputs.append(tuple(axis - (rank - own) for axis in label[rank - own :]))
            else:
                return None
        return Ports(tuple(inputs), (label,))

    def edit(self, node: onnx_ir.Node, label: Perm) -> None:
        rank = len(label)
        for index, value in enumerate(node.inputs):
            data = constant(value)
            if data is not None and 0 < data.ndim < rank and data.size > 1:
                lifted = data.reshape((1,) * (rank - data.ndim) + data.shape)
                replace_constant(node, index, lifted.transpose(label))


class Axis(SameRank):
    """Operators with one axis as an attribute."""

    def __init__(self, default: int, data: Callable[[onnx_ir.Node], Sequence[int]]) -> None:
        super().__init__(data)
        self._default = default

    def edit(self, node: onnx_ir.Node, label: Perm) -> None:
        axis = int_of(node, "axis", self._default) % len(label)
        set_int(node, "axis", label.index(axis))


class Affine(SameRank):
    """QuantizeLinear and DequantizeLinear, per tensor or per axis."""

    def __init__(self) -> None:
        super().__init__(lambda node: (0,))

    def allows(self, node: onnx_ir.Node, label: Perm) -> bool:
        return rank_of(input_at(node, 1)) in (0, 1)

    def edit(self, node: onnx_ir.Node, label: Perm) -> None:
        if rank_of(input_at(node, 1)) == 1:
            set_int(node, "axis", label.index(int_of(node, "axis", 1) % len(label)))


class ConstantAxes(SameRank):
    """Slice and CumSum: axes are a constant operand, to be renumbered."""

    def __init__(self, axes: int) -> None:
        super().__init__(lambda node: (0,))
        self._axes = axes

    def allows(self, node: onnx_ir.Node, label: Perm) -> bool:
        value = input_at(node, self._axes)
        if value is None:
            return node.op_type == "Slice" and constant(input_at(node, 1)) is not None
        return constant(value) is not None

    def edit(self, node: onnx_ir.Node, label: Perm) -> None:
        old = constant(input_at(node, self._axes))
        if old is None:
            starts = constant(input_at(node, 1))
            old = np.arange(0 if starts is None else starts.size, dtype=np.int64)
        axes = [label.index(axis) for axis in normalized(old.reshape(-1).tolist(), len(label))]
        replace_constant(node, self._axes, np.array(axes, old.dtype).reshape(old.shape))


class PerAxisOperand(SameRank):
    """Tile, Expand and Pad: a constant operand has one entry (or two) for each axis."""

    def __init__(self, index: int) -> None:
        super().__init__(lambda node: (0,))
        self._index = index

    def _table(self, node: onnx_ir.Node, rank: int) -> NDArray[Any] | None:
        data = constant(input_at(node, self._index))
        if data is None or data.size % rank:
            return None
        return data.reshape(-1, rank)

    def allows(self, node: onnx_ir.Node, label: Perm) -> bool:
        return self._table(node, len(label)) is not None and input_at(node, 3) is None

    def edit(self, node: onnx_ir.Node, label: Perm) -> None:
        table = self._table(node, len(label))
        if table is not None:
            replace_constant(node, self._index, table[:, list(label)].reshape(-1))


class KeepLast(SameRank):
    """Operators that work on the last axis only: MatMul by a matrix, LayerNormalization."""

    def __init__(self) -> None:
        super().__init__(lambda node: (0,))

    def allows(self, node: onnx_ir.Node, label: Perm) -> bool:
        last = len(label) - 1
        if node.op_type == "MatMul" and rank_of(input_at(node, 1)) != 2:
            return False
        if node.op_type == "LayerNormalization" and int_of(node, "axis", -1) not in (-1, last):
            return False
        return last >= 1 and label[-1] == last


class RankChange(Rule):
    """Operators that drop or add axes: reductions, Squeeze, Unsqueeze, Gather of one entry.

    The label permutes the side that has more axes.
    """

    def __init__(
        self,
        axes: Callable[[onnx_ir.Node, int], tuple[int, ...] | None],
        edit: Callable[[onnx_ir.Node, tuple[int, ...]], None],
        *,
        adds: bool = False,
    ) -> None:
        self._axes = axes
        self._edit = edit
        self._adds = adds

    def _wide(self, node: onnx_ir.Node) -> int | None:
        return rank_of(node.outputs[0] if self._adds else node.inputs[0])

    def _changed(self, node: onnx_ir.Node) -> tuple[tuple[int, ...], bool] | None:
        """The axes, and whether they are dropped (or kept with size 1)."""
        wide = self._wide(node)
        narrow = rank_of(node.inputs[0] if self._adds else node.outputs[0])
        if not wide or narrow is None:
            return None
        axes = self._axes(node, wide)
        if axes is None or (narrow != wide and narrow != wide - len(axes)):
            return None
        return axes, narrow != wide

    def neutral(self, node: onnx_ir.Node) -> Label | None:
        wide = self._wide(node)
        return identity(wide) if wide and self._changed(node) is not None else None

    def ports(self, node: onnx_ir.Node, label: Label) -> Ports | None:
        changed = self._changed(node)
        if changed is None:
            return None
        narrow = without(label, changed[0]) if changed[1] else label
        rest: tuple[Perm | None, ...] = (None,) * (len(node.inputs) - 1)
        if self._adds:
            return Ports((narrow, *rest), (label,))
        return Ports((label, *rest), (narrow,) * len(node.outputs))

    def propose(self, node: onnx_ir.Node, port: int, perm: Perm, variant: int) -> Label | None:
        changed = self._changed(node)
        if changed is None:
            return None
        if changed[1] and (port >= 0) == self._adds:
            return with_axes(perm, changed[0], variant)
        return perm

    def apply(self, node: onnx_ir.Node, label: Label) -> None:
        changed, ports = self._changed(node), self.ports(node, label)
        if changed is None or ports is None:
            return
        self._edit(node, tuple(sorted(label.index(axis) for axis in changed[0])))
        for value, perm in zip(node.outputs, ports.outputs, strict=True):
            permute_shape(value, perm)


def axes_operand(node: onnx_ir.Node, rank: int) -> tuple[int, ...] | None:
    """The axes of a reduction, Squeeze or Unsqueeze; None when only known at run time."""
    value = input_at(node, 1)
    if value is None:
        if node.op_type == "Squeeze":
            return tuple(a for a, size in enumerate(dims_of(node.inputs[0])) if size == 1)
        return () if int_of(node, "noop_with_empty_axes", 0) else tuple(range(rank))
    data = constant(value)
    if data is None:
        return None
    if data.size == 0 and node.op_type.startswith("Reduce"):
        return () if int_of(node, "noop_with_empty_axes", 0) else tuple(range(rank))
    return normalized(data.reshape(-1).tolist(), rank)


def set_axes_operand(node: onnx_ir.Node, axes: tuple[int, ...]) -> None:
    """Renumber them."""
    if input_at(node, 1) is not None and axes:
        replace_constant(node, 1, np.array(axes, np.int64))


def axis_attribute(node: onnx_ir.Node, rank: int) -> tuple[int, ...] | None:
    """The axis of ArgMax, ArgMin or Gather."""
    return (int_of(node, "axis", 0) % rank,)


def set_axis_attribute(node: onnx_ir.Node, axes: tuple[int, ...]) -> None:
    """Renumber it."""
    set_int(node, "axis", axes[0])


class Gather(Rule):
    """Gather with a list of indices keeps the rank, with a single index it drops the axis."""

    def __init__(self) -> None:
        self._many = Axis(0, lambda node: (0,))
        self._one = RankChange(axis_attribute, set_axis_attribute)

    def _rule(self, node: onnx_ir.Node) -> Rule | None:
        indices = rank_of(input_at(node, 1))
        return None if indices is None else {0: self._one, 1: self._many}.get(indices)

    def neutral(self, node: onnx_ir.Node) -> Label | None:
        rule = self._rule(node)
        return None if rule is None else rule.neutral(node)

    def ports(self, node: onnx_ir.Node, label: Label) -> Ports | None:
        rule = self._rule(node)
        return None if rule is None else rule.ports(node, label)

    def propose(self, node: onnx_ir.Node, port: int, perm: Perm, variant: int) -> Label | None:
        rule = self._rule(node)
        return None if rule is None else rule.propose(node, port, perm, variant)

    def apply(self, node: onnx_ir.Node, label: Label) -> None:
        rule = self._rule(node)
        if rule is not None:
            rule.apply(node, label)
