"""Expand and Tile."""

from __future__ import annotations

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.lowering import Lower, Lowering
from edgekit.converters.tflite.ops._build import is_static, shape_vector
from edgekit.converters.tflite.ops.shape import forward


def lower_expand(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Expand: BROADCAST_TO a shape that broadcasting of both sides gives."""
    x, target, out = ctx.input(node, 0), ctx.input(node, 1), ctx.output(node)
    if is_static(out):
        if x.shape == out.shape:
            forward(ctx, node)
            return
        sizes = ctx.constant(np.array(out.shape, np.int32), "shape")
    else:
        wanted = ctx.cast(target, "int32", "shape")
        if wanted.data is not None and wanted.data.size <= x.rank and (wanted.data == 1).all():
            forward(ctx, node)
            return
        sizes = ctx.temporary("int32", (out.rank,), "sizes")
        ctx.add("BROADCAST_ARGS", [shape_vector(ctx, x), wanted], sizes)
    ctx.add("BROADCAST_TO", [x, sizes], out, schema.BroadcastToOptionsT())


def lower_tile(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Tile."""
    x, repeats, out = ctx.input(node, 0), ctx.input(node, 1), ctx.output(node)
    if x.rank == 0:
        forward(ctx, node)
        return
    ctx.add("TILE", [x, ctx.cast(repeats, "int32", "repeats")], out, schema.TileOptionsT())


LOWERINGS: dict[str, Lower] = {"Expand": lower_expand, "Tile": lower_tile}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset(LOWERINGS)
"""Operators whose lowering is right for int8 tensors too."""
