"""DepthToSpace and SpaceToDepth over channels-last data."""

from __future__ import annotations

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.lowering import Lower, Lowering, int_attribute, string_attribute
from edgekit.converters.tflite.ops.conv import require_channels_last, static


def lower_depth_to_space(ctx: Lowering, node: onnx_ir.Node) -> None:
    """DepthToSpace; TFLite's order of channels is DCR, so CRD is gathered into it first."""
    require_channels_last(node)
    x, block = ctx.input(node, 0), int_attribute(node, "blocksize", 1)
    if string_attribute(node, "mode", "DCR") == "CRD":
        order = np.arange(static(x.shape[-1])).reshape(-1, block * block).T.reshape(-1)
        indices = ctx.constant(order.astype(np.int32), "order")
        out = ctx.like(x, x.shape, "reordered")
        x = ctx.add("GATHER", [x, indices], out, schema.GatherOptionsT(axis=3))
    options = schema.DepthToSpaceOptionsT(blockSize=block)
    ctx.add("DEPTH_TO_SPACE", [x], ctx.output(node), options)


def lower_space_to_depth(ctx: Lowering, node: onnx_ir.Node) -> None:
    """SpaceToDepth: both formats order channels as (row, column, channel)."""
    require_channels_last(node)
    options = schema.SpaceToDepthOptionsT(blockSize=int_attribute(node, "blocksize", 1))
    ctx.add("SPACE_TO_DEPTH", [ctx.input(node, 0)], ctx.output(node), options)


LOWERINGS: dict[str, Lower] = {
    "DepthToSpace": lower_depth_to_space,
    "SpaceToDepth": lower_space_to_depth,
}
