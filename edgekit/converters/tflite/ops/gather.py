"""Reading elements by index."""

from __future__ import annotations

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering, int_attribute
from edgekit.converters.tflite.ops._build import emit, positive_axis
from edgekit.converters.tflite.ops._index import (
    coordinates,
    element_positions,
    strides,
    total,
    wrapped,
)


def lower_gather(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Gather slices along an axis."""
    x = ctx.input(node, 0)
    axis = positive_axis(int_attribute(node, "axis", 0), x.rank)
    indices = wrapped(ctx, ctx.input(node, 1), x, [axis], narrow=False)
    _gather(ctx, x, indices, axis, ctx.output(node))


def _gather(ctx: Lowering, x: Tensor, indices: Tensor, axis: int, out: Tensor) -> None:
    ctx.add("GATHER", [x, indices], out, schema.GatherOptionsT(axis=axis, batchDims=0))


def lower_gather_elements(ctx: Lowering, node: onnx_ir.Node) -> None:
    """GatherElements: a GATHER from the flattened tensor, by linear positions."""
    x, out = ctx.input(node, 0), ctx.output(node)
    axis = positive_axis(int_attribute(node, "axis", 0), x.rank)
    positions = element_positions(ctx, x, ctx.input(node, 1), axis)
    flat = ctx.reshape(x, (_count(x),), "flat")
    _gather(ctx, flat, positions, 0, out)


def _count(x: Tensor) -> int | None:
    if any(size is None for size in x.shape):
        return None
    return int(np.prod([size for size in x.shape if size is not None], dtype=np.int64))


def lower_gather_nd(ctx: Lowering, node: onnx_ir.Node) -> None:
    """GatherND; with batch axes it becomes a GATHER by linear positions."""
    x, indices, out = ctx.input(node, 0), ctx.input(node, 1), ctx.output(node)
    batch = int_attribute(node, "batch_dims", 0)
    depth = indices.shape[-1]
    if depth is None:
        raise CannotLower("the length of an index is dynamic", "fix the input shapes")
    axes = list(range(batch, batch + depth))
    if not batch:
        whole = wrapped(ctx, indices, x, axes, narrow=False)
        ctx.add("GATHER_ND", [x, whole], out, schema.GatherNdOptionsT())
        return
    _gather_batches(ctx, x, indices, axes, out)


def _gather_batches(
    ctx: Lowering, x: Tensor, indices: Tensor, axes: list[int], out: Tensor
) -> None:
    """Fold the batch and the indexed axes into one, and gather along it."""
    batch = axes[0]
    leading = list(range(batch + len(axes)))
    steps = strides(x, leading)
    whole = wrapped(ctx, indices, x, axes)
    factors = ctx.constant(np.array(steps[batch:], np.int32), "steps")
    inner_shape = indices.shape[:-1]
    if whole.data is not None and factors.data is not None:
        inner = ctx.constant((whole.data * factors.data).sum(-1).astype(np.int32), "inner")
    else:
        scaled = emit(ctx, "MUL", [whole, factors])
        last = ctx.constant(np.array([indices.rank - 1], np.int32), "axis")
        target = ctx.temporary("int32", inner_shape, "inner")
        inner = ctx.add("SUM", [scaled, last], target, schema.ReducerOptionsT(keepDims=False))
    terms = [coordinates(ctx, inner, axis, steps[axis]) for axis in range(batch)]
    positions = total(ctx, [inner, *terms])
    rest = x.shape[len(leading) :]
    sizes = x.shape[: len(leading)]
    dynamic = any(size is None for size in sizes)
    count = None if dynamic else int(np.prod([s for s in sizes if s is not None]))
    _gather(ctx, ctx.reshape(x, (count, *rest), "folded"), positions, 0, out)


LOWERINGS: dict[str, Lower] = {
    "Gather": lower_gather,
    "GatherElements": lower_gather_elements,
    "GatherND": lower_gather_nd,
}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset(LOWERINGS)
"""Operators whose lowering is right for int8 tensors too."""
