"""Slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering
from edgekit.converters.tflite.ops._build import (
    absent,
    concat_vectors,
    positive_axis,
    required,
    vector_slice,
)

_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class _Bound:
    """One side of a slice along every axis.

    Attributes:
        vector: positions, int32, one per axis.
        mask: bit `axis` is set where the position is the very edge.
    """

    vector: Tensor
    mask: int


def lower_slice(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Slice: a STRIDED_SLICE, masked along the axes that are kept whole."""
    x, out = ctx.input(node, 0), ctx.output(node)
    count = ctx.input(node, 1).shape[0]
    if count is None:
        raise CannotLower("the number of sliced axes is dynamic", "make the starts a constant")
    axes = list(range(count))
    if not absent(node, 3):
        named = required(ctx, node, 3, "the axes of Slice").reshape(-1)
        axes = [positive_axis(int(axis), x.rank) for axis in named]
    strides = np.ones(x.rank, np.int32)
    if not absent(node, 4):
        strides[axes] = required(ctx, node, 4, "the steps of Slice").reshape(-1)
    begin = _bound(ctx, ctx.input(node, 1), x, axes, strides, 1)
    end = _bound(ctx, ctx.input(node, 2), x, axes, strides, -1)
    options = schema.StridedSliceOptionsT(beginMask=begin.mask, endMask=end.mask)
    inputs = [x, begin.vector, end.vector, ctx.constant(strides, "strides")]
    ctx.add("STRIDED_SLICE", inputs, out, options)


def _bound(
    ctx: Lowering,
    given: Tensor,
    x: Tensor,
    axes: list[int],
    strides: np.ndarray[tuple[int, ...], np.dtype[np.int32]],
    side: int,
) -> _Bound:
    """One bound of every axis.

    Args:
        ctx: the conversion.
        given: positions along `axes`.
        x: what is sliced.
        axes: the sliced axes.
        strides: steps of all axes.
        side: 1 for where the slice begins, -1 for where it ends.
    """
    whole = sum(1 << axis for axis in range(x.rank) if axis not in axes)
    if given.data is not None:
        vector, mask = np.zeros(x.rank, np.int32), whole
        for axis, position in zip(axes, given.data.reshape(-1), strict=True):
            vector[axis], edge = _constant(int(position), x.shape[axis], side, int(strides[axis]))
            mask |= edge << axis
        return _Bound(ctx.constant(vector, "bound"), mask)
    if (strides < 0).any():
        raise CannotLower(
            "Slice backwards between bounds that are computed at run time", "use constant bounds"
        )
    positions = _narrow(ctx, given)
    zero = ctx.constant(np.zeros(1, np.int32), "zero")
    parts = [
        vector_slice(ctx, positions, axes.index(axis), axes.index(axis) + 1, "position")
        if axis in axes
        else zero
        for axis in range(x.rank)
    ]
    return _Bound(concat_vectors(ctx, parts, "bound"), whole)


def _constant(position: int, size: int | None, side: int, step: int) -> tuple[int, int]:
    """A position that fits, and whether the slice reaches the edge on this side.

    Args:
        position: as given, negative from the back, possibly far outside.
        size: the size along the axis.
        side: 1 for where the slice begins, -1 for where it ends.
        step: its step.
    """
    if side * step < 0:
        at_edge = position >= (_INT32.max if size is None else size)
    elif side > 0:
        at_edge = position == 0 or position <= (_INT32.min if size is None else -size)
    else:
        at_edge = position < (_INT32.min if size is None else -size)
    if at_edge:
        return 0, 1
    return int(np.clip(position, _INT32.min // 2, _INT32.max // 2)), 0


def _narrow(ctx: Lowering, positions: Tensor) -> Tensor:
    """Positions as int32; those beyond its range mean the edge anyway."""
    if positions.dtype == "int32":
        return positions
    limits = [np.array(v, np.int64) for v in (_INT32.min // 2, _INT32.max // 2)]
    options = schema.MaximumMinimumOptionsT()
    for builtin, limit in zip(("MAXIMUM", "MINIMUM"), limits, strict=True):
        bound = ctx.constant(limit, "limit")
        target = ctx.like(positions, positions.shape, "limited")
        positions = ctx.add(builtin, [positions, bound], target, options)
    return ctx.cast(positions, "int32", "positions")


LOWERINGS: dict[str, Lower] = {"Slice": lower_slice}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset(LOWERINGS)
"""Operators whose lowering is right for int8 tensors too."""
