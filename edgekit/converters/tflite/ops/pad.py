"""Pad in its four modes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering, string_attribute
from edgekit.converters.tflite.ops._build import (
    absent,
    as_scalar,
    positive_axis,
    required,
    scalar_like,
    static_size,
)
from edgekit.converters.tflite.ops._fold import around, folded, like_folded, too_many_axes
from edgekit.converters.tflite.ops.shape import forward

if TYPE_CHECKING:
    from numpy.typing import NDArray


def lower_pad(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Pad: PAD for zeros, PADV2 for another constant, MIRROR_PAD, or gathered borders."""
    x = ctx.input(node, 0)
    mode = string_attribute(node, "mode", "constant")
    pads = _pads(ctx, node, x.rank)
    if (pads == 0).all():
        forward(ctx, node)
        return
    out = ctx.output(node)
    if mode == "constant":
        _constant(ctx, node, x, pads, out)
    elif mode == "reflect" and (pads >= 0).all():
        options = schema.MirrorPadOptionsT(mode=schema.MirrorPadMode.REFLECT)
        ctx.add("MIRROR_PAD", [x, ctx.constant(pads, "pads")], out, options)
    else:
        _gathered(ctx, x, pads, mode, out)


def _pads(ctx: Lowering, node: onnx_ir.Node, rank: int) -> NDArray[np.int32]:
    """(begin, end) per axis, shape (rank, 2)."""
    given = required(ctx, node, 1, "the padding").reshape(2, -1).T
    axes = list(range(rank))
    if not absent(node, 3):
        named = required(ctx, node, 3, "the axes of Pad").reshape(-1)
        axes = [positive_axis(int(axis), rank) for axis in named]
    pads = np.zeros((rank, 2), np.int32)
    pads[axes] = given
    return pads


def _constant(
    ctx: Lowering, node: onnx_ir.Node, x: Tensor, pads: NDArray[np.int32], out: Tensor
) -> None:
    if (pads < 0).any():
        cropped = tuple(
            None if size is None else size + int(pair.sum())
            for size, pair in zip(x.shape, np.minimum(pads, 0), strict=True)
        )
        pads, crop = np.maximum(pads, 0), np.minimum(pads, 0)
        only = (pads == 0).all()
        x = _crop(ctx, x, crop, out if only else ctx.like(x, cropped, "cropped"))
        if only:
            return
    value = _pad_value(ctx, node, x)
    builtin = "PAD" if value is None else "PADV2"
    groups = around(x.rank, {axis for axis in range(x.rank) if pads[axis].any()})
    target = out
    if too_many_axes(builtin, x):
        x, target = folded(ctx, x, groups), like_folded(ctx, out, groups)
        pads = np.stack([pads[list(group)].sum(0) for group in groups]).astype(np.int32)
    sizes = ctx.constant(pads, "pads")
    if value is None:
        ctx.add("PAD", [x, sizes], target, schema.PadOptionsT())
    else:
        ctx.add("PADV2", [x, sizes, value], target, schema.PadV2OptionsT())
    if target is not out:
        ctx.reshape(target, out.shape, "unfolded", out)


def _pad_value(ctx: Lowering, node: onnx_ir.Node, x: Tensor) -> Tensor | None:
    """What is put around, in the type of `x`; None for zero."""
    if absent(node, 2):
        return None
    value = ctx.input(node, 2)
    if value.data is None:
        if x.quantization is not None:
            raise CannotLower("a pad value that is computed at run time", "make it a constant")
        return as_scalar(ctx, value, "value")
    number = float(np.asarray(value.data, np.float64).reshape(()))
    return scalar_like(ctx, x, number, "value") if number else None


def _crop(ctx: Lowering, x: Tensor, crop: NDArray[np.int32], out: Tensor) -> Tensor:
    begin, end = -crop[:, 0], crop[:, 1]
    vectors = [begin, end, np.ones(x.rank, np.int32)]
    mask = sum(1 << axis for axis in range(x.rank) if end[axis] == 0)
    inputs = [x, *(ctx.constant(v.astype(np.int32), "crop") for v in vectors)]
    return ctx.add("STRIDED_SLICE", inputs, out, schema.StridedSliceOptionsT(endMask=mask))


def _gathered(ctx: Lowering, x: Tensor, pads: NDArray[np.int32], mode: str, out: Tensor) -> None:
    """Borders that repeat inner elements: one GATHER per padded axis."""
    axes = [axis for axis in range(x.rank) if pads[axis].any()]
    for position, axis in enumerate(axes):
        if mode == "edge" and x.shape[axis] is None and (pads[axis] >= 0).all():
            shape = (*x.shape[:axis], None, *x.shape[axis + 1 :])
            target = out if position == len(axes) - 1 else ctx.like(x, shape, mode)
            x = _repeat_edges(ctx, x, axis, pads[axis], target)
            continue
        indices = _source_indices(static_size(x, axis), pads[axis], mode)
        shape = (*x.shape[:axis], indices.size, *x.shape[axis + 1 :])
        target = out if position == len(axes) - 1 else ctx.like(x, shape, mode)
        inputs = [x, ctx.constant(indices, "indices")]
        x = ctx.add("GATHER", inputs, target, schema.GatherOptionsT(axis=axis))


def _repeat_edges(
    ctx: Lowering, x: Tensor, axis: int, pad: NDArray[np.int32], out: Tensor
) -> Tensor:
    """The first and the last slice along a dynamic axis, repeated around it."""
    parts = [x]
    for side, count in enumerate(int(width) for width in pad):
        begin, end = np.zeros(x.rank, np.int32), np.zeros(x.rank, np.int32)
        begin[axis], end[axis] = (-1, 0) if side else (0, 1)
        whole = (1 << x.rank) - 1 - (1 << axis)
        options = schema.StridedSliceOptionsT(
            beginMask=whole, endMask=whole | ((1 << axis) if side else 0)
        )
        vectors = (begin, end, np.ones(x.rank, np.int32))
        inputs = [x, *(ctx.constant(vector, "edge") for vector in vectors)]
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        if count:
            edge = ctx.add("STRIDED_SLICE", inputs, ctx.like(x, shape, "edge"), options)
            parts = [*parts, *[edge] * count] if side else [*[edge] * count, *parts]
    return ctx.add("CONCATENATION", parts, out, schema.ConcatenationOptionsT(axis=axis))


def _source_indices(size: int, pad: NDArray[np.int32], mode: str) -> NDArray[np.int32]:
    positions = np.arange(-int(pad[0]), size + int(pad[1]))
    if mode == "edge":
        positions = np.clip(positions, 0, size - 1)
    elif mode == "wrap":
        positions = positions % size
    elif mode == "reflect":
        period = max(2 * (size - 1), 1)
        positions = (
            np.abs((positions + size - 1) % period - (size - 1)) if size > 1 else positions * 0
        )
    else:
        raise CannotLower(f"Pad of mode '{mode}'")
    return positions.astype(np.int32)


LOWERINGS: dict[str, Lower] = {"Pad": lower_pad}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset(LOWERINGS)
"""Operators whose lowering is right for int8 tensors too."""
