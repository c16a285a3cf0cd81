"""Permuted axes through Reshape and Flatten.

A reshape splits and merges groups of axes. Whole groups may be permuted as long as the axes within
a group stay together. A reshape that flattens features in front of a constant matrix can take its
input in any order of features: the rows of the matrix are permuted instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir

from edgekit.passes.canonicalize._axis_edits import (
    dims_of,
    int_of,
    permute_shape,
    replace_constant,
)
from edgekit.passes.canonicalize._axis_rules import Label, Ports, Rule
from edgekit.passes.canonicalize._axis_table import RULES
from edgekit.passes.canonicalize.permutations import Dims, Perm, identity
from edgekit.passes.canonicalize.rewrite import constant, input_at
from edgekit.passes.canonicalize.rewrite import rank as rank_of


@dataclass(frozen=True)
class _Moved:
    """Permutations before and after a reshape.

    Attributes:
        before: of the operand.
        after: of the result.
        features: whether the features of the result are in another order, too.
    """

    before: Perm
    after: Perm
    features: bool = False


@dataclass(frozen=True)
class _Group:
    """Axes (of other sizes than 1) before and after that hold the same elements."""

    before: tuple[int, ...]
    after: tuple[int, ...]


class ReshapeRule(Rule):
    """Reshape and Flatten."""

    def neutral(self, node: onnx_ir.Node) -> Label | None:
        before, after = rank_of(input_at(node, 0)), rank_of(node.outputs[0])
        if not before or not after or _groups(node) is None:
            return None
        if node.op_type == "Reshape" and constant(input_at(node, 1)) is None:
            return None
        return _Moved(identity(before), identity(after))

    def ports(self, node: onnx_ir.Node, label: Label) -> Ports | None:
        rest: tuple[Perm | None, ...] = (None,) * (len(node.inputs) - 1)
        return Ports((label.before, *rest), (label.after,))

    def propose(self, node: onnx_ir.Node, port: int, perm: Perm, variant: int) -> Label | None:
        groups = _groups(node)
        if groups is None:
            return None
        before, after = dims_of(node.inputs[0]), dims_of(node.outputs[0])
        if port < 0:
            other = _follow(perm, after, before, [(g.after, g.before) for g in groups], variant)
            return None if other is None else _Moved(other, perm)
        other = _follow(perm, before, after, [(g.before, g.after) for g in groups], variant)
        if other is not None:
            return _Moved(perm, other)
        if perm[0] == 0 and _keeps_batch(groups, after) and feature_readers(node.outputs[0]):
            return _Moved(perm, identity(len(after)), features=True)
        return None

    def apply(self, node: onnx_ir.Node, label: Label) -> None:
        value = node.outputs[0]
        if label.features:
            sizes = [size for size in dims_of(node.inputs[0])[1:] if isinstance(size, int)]
            order = np.arange(prod(sizes)).reshape(sizes)
            moved = order.transpose([axis - 1 for axis in label.before[1:]]).reshape(-1)
            for reader, index in feature_readers(value) or ():
                _permute_features(reader, index, moved)
        permute_shape(value, label.after)
        shape = [size if isinstance(size, int) else -1 for size in dims_of(value)]
        node.op_type = "Reshape"
        node.attributes.clear()
        replace_constant(node, 1, np.array(shape, np.int64))


def _groups(node: onnx_ir.Node) -> list[_Group] | None:
    """Smallest groups of axes that a reshape maps to each other; None when sizes are unknown."""
    before, after = dims_of(node.inputs[0]), dims_of(node.outputs[0])
    unknown = [size for size in (*before, *after) if not isinstance(size, int)]
    if sum(not isinstance(s, int) for s in before) > 1 or len(unknown) > 2:
        return None
    if unknown and len(unknown) != 2:
        return None
    left = [(axis, _size(size)) for axis, size in enumerate(before) if size != 1]
    right = [(axis, _size(size)) for axis, size in enumerate(after) if size != 1]
    if prod(s for _, s in left) != prod(s for _, s in right):
        return None
    return _matched(left, right)


_SYMBOL = 2_147_483_659
"""A prime that stands for the one dynamic size on each side."""


def _size(size: int | str | None) -> int:
    return size if isinstance(size, int) else _SYMBOL


def _matched(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> list[_Group] | None:
    groups = []
    i = j = 0
    while i < len(left) and j < len(right):
        a, b = left[i][1], right[j][1]
        start = (i, j)
        i, j = i + 1, j + 1
        while a != b:
            if a < b and i < len(left):
                a, i = a * left[i][1], i + 1
            elif b < a and j < len(right):
                b, j = b * right[j][1], j + 1
            else:
                return None
        groups.append(
            _Group(
                tuple(axis for axis, _ in left[start[0] : i]),
                tuple(axis for axis, _ in right[start[1] : j]),
            )
        )
    return groups if i == len(left) and j == len(right) else None


def _follow(
    perm: Perm,
    near: Dims,
    far: Dims,
    groups: list[tuple[tuple[int, ...], tuple[int, ...]]],
    variant: int,
) -> Perm | None:
    """The permutation on the far side of a reshape that belongs to one on the near side."""
    sequence = [axis for axis in perm if near[axis] != 1]
    owner = {axis: group for group in groups for axis in group[0]}
    moved: list[int] = []
    position = 0
    while position < len(sequence):
        mine, theirs = owner[sequence[position]]
        if tuple(sequence[position : position + len(mine)]) != mine:
            return None
        moved.extend(theirs)
        position += len(mine)
    return _with_units(moved, far, variant)


def _with_units(moved: list[int], dims: Dims, variant: int) -> Perm:
    """Insert axes of size 1, where a channels-last tensor would have them, or in front."""
    if moved == sorted(moved) and variant == 0:
        return identity(len(dims))
    units = [axis for axis, size in enumerate(dims) if size == 1]
    if units and units[0] == 0:
        return (0, *moved[:-1], *units[1:], *moved[-1:])
    place = 1 if variant == 0 else 0
    return (*moved[:place], *units, *moved[place:])


def _keeps_batch(groups: list[_Group], after: Dims) -> bool:
    """Whether the result is [batch, features] and the first axis is the batch on both sides."""
    if len(after) != 2 or not isinstance(after[1], int):
        return False
    first = [group for group in groups if 0 in group.before or 0 in group.after]
    if after[0] == 1:
        return not any(0 in group.before for group in groups)
    return len(first) == 1 and first[0] == _Group((0,), (0,))


def feature_readers(value: onnx_ir.Value) -> list[tuple[onnx_ir.Node, int]] | None:
    """Nodes with constants to permute when the features (last axis) of a matrix change order.

    Returns:
        (node, index of the constant) for each; None when something else sees the order.
    """
    if value.is_graph_output() or not value.uses():
        return None
    readers: list[tuple[onnx_ir.Node, int]] = []
    for node, index in value.uses():
        if _is_dense(node, index):
            readers.append((node, 1))
            continue
        side = _passes_features(node, index)
        rest = feature_readers(node.outputs[0]) if side is not None else None
        if side is None or rest is None:
            return None
        readers.extend([(node, side)] if side >= 0 else [])
        readers.extend(rest)
    return readers


def _matrix(node: onnx_ir.Node) -> onnx_ir.Value | None:
    """The constant that a dense node's weights come from, through a DequantizeLinear."""
    value = input_at(node, 1)
    producer = None if value is None else value.producer()
    if producer is not None and producer.op_type == "DequantizeLinear":
        value = input_at(producer, 0)
    return value if constant(value) is not None and rank_of(value) == 2 else None


def _is_dense(node: onnx_ir.Node, index: int) -> bool:
    if index != 0 or _matrix(node) is None:
        return False
    weights = node.inputs[1]
    rows = int_of(node, "transB", 0) if node.op_type == "Gemm" else 0
    producer = None if weights is None else weights.producer()
    if producer is not None:
        scale = input_at(producer, 1)
        per_axis = rank_of(scale) == 1
        if len(producer.outputs[0].uses()) != 1 or rank_of(scale) not in (0, 1):
            return False
        if per_axis and int_of(producer, "axis", 1) % 2 == rows:
            return False
    return node.op_type == "MatMul" or (node.op_type == "Gemm" and not int_of(node, "transA", 0))


def _passes_features(node: onnx_ir.Node, index: int) -> int | None:
    """Index of a per-feature constant of an element-wise node, -1 without one, None if neither."""
    rule = RULES.get(node.op_type)
    if rule is None or node.domain not in ("", "ai.onnx") or len(node.outputs) != 1:
        return None
    if rule is RULES["Relu"] or rule is RULES["QuantizeLinear"]:
        scalar = rule is RULES["Relu"] or rank_of(input_at(node, 1)) == 0
        return -1 if index == 0 and scalar else None
    if rule is not RULES["Add"] or len(node.inputs) != 2:
        return None
    data = constant(node.inputs[1 - index])
    if data is None:
        return None
    if data.size == 1:
        return -1
    return 1 - index if data.ndim and data.shape[-1] == data.size else None


def _permute_features(node: onnx_ir.Node, index: int, order: np.ndarray) -> None:
    if not _is_dense(node, 0):
        data = constant(node.inputs[index])
        if data is not None:
            replace_constant(node, index, data[..., order])
        return
    rows = int_of(node, "transB", 0) if node.op_type == "Gemm" else 0
    weights = node.inputs[1]
    producer = None if weights is None else weights.producer()
    holder, at = (node, 1) if producer is None else (producer, 0)
    data = constant(holder.inputs[at])
    if data is not None:
        replace_constant(holder, at, np.take(data, order, axis=rows))
