"""Writing elements by index.

SCATTER_ND writes into zeros and adds up duplicates. ONNX overwrites a tensor and forbids duplicate
indices where nothing is reduced, so: scatter the updates, scatter a mask, and choose.
"""

from __future__ import annotations

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import (
    CannotLower,
    Lower,
    Lowering,
    int_attribute,
    string_attribute,
)
from edgekit.converters.tflite.ops._build import (
    compute,
    emit,
    is_static,
    options_of,
    positive_axis,
    reshape_like,
    scalar_like,
    shape_vector,
)
from edgekit.converters.tflite.ops._index import (
    element_positions,
    size_vector,
    wrapped,
)

_TYPES = frozenset({"float32", "int32", "int64", "bool"})


def lower_scatter_nd(ctx: Lowering, node: onnx_ir.Node) -> None:
    """ScatterND."""
    data, indices, updates = (ctx.input(node, index) for index in range(3))
    _check(node, data)
    depth = indices.shape[-1]
    if depth is None:
        raise CannotLower("the length of an index is dynamic", "fix the input shapes")
    whole = wrapped(ctx, indices, data, list(range(depth)))
    _scatter(ctx, node, data, whole, updates, ctx.output(node))


def lower_scatter_elements(ctx: Lowering, node: onnx_ir.Node) -> None:
    """ScatterElements: into the flattened tensor, by linear positions."""
    data, indices, updates = (ctx.input(node, index) for index in range(3))
    _check(node, data)
    axis = positive_axis(int_attribute(node, "axis", 0), data.rank)
    out = ctx.output(node)
    if sum(size is None for size in indices.shape) > 1:
        raise CannotLower("indices with several dynamic sizes", "fix the input shapes")
    positions = element_positions(ctx, data, indices, axis)
    count, total = _count(indices), _count(data)
    column = ctx.reshape(positions, (count, 1), "column")
    flat = ctx.like(data, (total,), "flat")
    source = ctx.reshape(data, (total,), "source")
    _scatter(ctx, node, source, column, ctx.reshape(updates, (count,), "updates"), flat)
    reshape_like(ctx, flat, data, "result", out)


def _count(x: Tensor) -> int | None:
    sizes = [size for size in x.shape if size is not None]
    return int(np.prod(sizes, dtype=np.int64)) if is_static(x) else None


def _check(node: onnx_ir.Node, data: Tensor) -> None:
    if data.dtype not in _TYPES or data.quantization is not None:
        raise CannotLower(f"{node.op_type} of {data.dtype}", "keep this node in float32")
    reduction = string_attribute(node, "reduction", "none")
    if reduction not in ("none", "add"):
        raise CannotLower(
            f"{node.op_type} with reduction '{reduction}'", "only 'none' and 'add' can be expressed"
        )


def _scatter(
    ctx: Lowering,
    node: onnx_ir.Node,
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    out: Tensor,
) -> None:
    """`data` with the rows that `indices` name replaced by, or increased by, `updates`."""
    shape = shape_vector(ctx, data)
    written = ctx.like(data, data.shape, "written")
    ctx.add("SCATTER_ND", [indices, updates, shape], written, schema.ScatterNdOptionsT())
    if string_attribute(node, "reduction", "none") == "add":
        compute(ctx, "ADD", [data, written], out, options_of("ADD"))
        return
    emit(ctx, "SELECT_V2", [_mask(ctx, data, indices), written, data], out)


def _mask(ctx: Lowering, data: Tensor, indices: Tensor) -> Tensor:
    """Which rows are written to, shaped to broadcast against `data`."""
    depth = int(indices.shape[-1] or 0)
    head = data.shape[:depth]
    wide = (*head, *(1,) * (data.rank - depth))
    if indices.data is not None and all(size is not None for size in head):
        known = np.zeros([size or 0 for size in head], np.bool_)
        known[tuple(np.moveaxis(indices.data, -1, 0))] = True
        return ctx.constant(known.reshape([size or 0 for size in wide]), "mask")
    sizes = size_vector(ctx, data, range(depth), "rows")
    counts = ctx.temporary("int32", head, "counts")
    inputs = [indices, _ones(ctx, indices), sizes]
    ctx.add("SCATTER_ND", inputs, counts, schema.ScatterNdOptionsT())
    zero = scalar_like(ctx, counts, 0, "zero")
    mask = emit(ctx, "NOT_EQUAL", [counts, zero], dtype="bool")
    if len(wide) == len(head):
        return mask
    if sum(size is None for size in wide) <= 1:
        return ctx.reshape(mask, wide, "mask")
    for axis in range(depth, data.rank):
        index = ctx.constant(np.array(axis, np.int32), "axis")
        out = ctx.temporary("bool", wide[: axis + 1], "mask")
        mask = ctx.add("EXPAND_DIMS", [mask, index], out, schema.ExpandDimsOptionsT())
    return mask


def _ones(ctx: Lowering, indices: Tensor) -> Tensor:
    """A one per index, int32."""
    shape = indices.shape[:-1]
    if all(size is not None for size in shape):
        return ctx.constant(np.ones([size or 0 for size in shape], np.int32), "ones")
    sizes = size_vector(ctx, indices, range(len(shape)), "count")
    one = ctx.constant(np.array(1, np.int32), "one")
    out = ctx.temporary("int32", shape, "ones")
    return ctx.add("FILL", [sizes, one], out, schema.FillOptionsT())


LOWERINGS: dict[str, Lower] = {
    "ScatterElements": lower_scatter_elements,
    "ScatterND": lower_scatter_nd,
}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset()
"""Operators whose lowering is right for int8 tensors too."""
