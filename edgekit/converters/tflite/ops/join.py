"""Concat and Split."""

from __future__ import annotations

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering, int_attribute
from edgekit.converters.tflite.ops._build import absent, positive_axis, static_size
from edgekit.converters.tflite.ops._fold import around, folded, like_folded, too_many_axes
from edgekit.converters.tflite.ops.shape import forward


def lower_concat(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Concat."""
    inputs = [ctx.input(node, index) for index in range(len(node.inputs))]
    if len(inputs) == 1:
        forward(ctx, node)
        return
    axis = positive_axis(int_attribute(node, "axis", 0), inputs[0].rank)
    out = ctx.output(node)
    if not too_many_axes("CONCATENATION", out):
        ctx.add("CONCATENATION", inputs, out, schema.ConcatenationOptionsT(axis=axis))
        return
    groups = around(out.rank, {axis})
    options = schema.ConcatenationOptionsT(axis=groups.index((axis,)))
    parts = [folded(ctx, part, groups) for part in inputs]
    ctx.reshape(
        ctx.add("CONCATENATION", parts, like_folded(ctx, out, groups), options),
        out.shape,
        "unfolded",
        out,
    )


def lower_split(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Split into equal or unequal parts."""
    x = ctx.input(node, 0)
    axis = positive_axis(int_attribute(node, "axis", 0), x.rank)
    if len(node.outputs) == 1:
        forward(ctx, node)
        return
    outputs = [ctx.output(node, index) for index in range(len(node.outputs))]
    sizes = _sizes(ctx, node, outputs, axis)
    if min(sizes) < 0:
        raise CannotLower(f"Split of {x.shape[axis]} elements into {len(sizes)} parts")
    if x.dtype == "bool" or too_many_axes("SPLIT", x):
        _split_by_slices(ctx, x, axis, sizes, outputs)
        return
    axis_tensor = ctx.constant(np.array(axis, np.int32), "axis")
    count = len(sizes)
    if len(set(sizes)) == 1:
        ctx.add("SPLIT", [axis_tensor, x], outputs, schema.SplitOptionsT(numSplits=count))
        return
    lengths = ctx.constant(np.array(sizes, np.int32), "sizes")
    options = schema.SplitVOptionsT(numSplits=count)
    ctx.add("SPLIT_V", [x, lengths, axis_tensor], outputs, options)


def _sizes(ctx: Lowering, node: onnx_ir.Node, outputs: list[Tensor], axis: int) -> list[int]:
    given = None if absent(node, 1) else ctx.input(node, 1).data
    if given is not None:
        return [int(size) for size in given]
    return [static_size(out, axis) for out in outputs]


def _split_by_slices(
    ctx: Lowering, x: Tensor, axis: int, sizes: list[int], outputs: list[Tensor]
) -> None:
    """For types and ranks that SPLIT has no kernel for."""
    start = 0
    for size, out in zip(sizes, outputs, strict=True):
        begin, length = np.zeros(x.rank, np.int32), np.full(x.rank, -1, np.int32)
        begin[axis], length[axis] = start, size
        inputs = [x, ctx.constant(begin, "begin"), ctx.constant(length, "length")]
        ctx.add("SLICE", inputs, out, schema.SliceOptionsT())
        start += size


LOWERINGS: dict[str, Lower] = {"Concat": lower_concat, "Split": lower_split}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset(LOWERINGS)
"""Operators whose lowering is right for int8 tensors too."""
