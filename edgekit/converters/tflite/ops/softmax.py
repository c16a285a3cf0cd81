"""Softmax along any axis."""

from __future__ import annotations

import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering, int_attribute
from edgekit.converters.tflite.ops._build import positive_axis
from edgekit.converters.tflite.ops._fold import around, folded, like_folded, too_many_axes


def lower_softmax(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Softmax and LogSoftmax: TFLite has them for the last axis, others are brought there."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if x.dtype != "float32" and x.quantization is None:
        raise CannotLower(f"{node.op_type} of {x.dtype}", "cast its input to float32")
    axis = positive_axis(int_attribute(node, "axis", -1), x.rank)
    if axis == x.rank - 1:
        _last_axis(ctx, node.op_type, x, out)
        return
    perm = [*range(axis), *range(axis + 1, x.rank), axis]
    back = [perm.index(a) for a in range(x.rank)]
    moved = ctx.transpose(x, perm, "last")
    result = _last_axis(ctx, node.op_type, moved, ctx.like(out, moved.shape, "softmax"))
    ctx.transpose(result, back, "back", out)


def _last_axis(ctx: Lowering, op_type: str, x: Tensor, out: Tensor) -> Tensor:
    if op_type == "Softmax" and too_many_axes("SOFTMAX", x):
        groups = around(x.rank, {x.rank - 1})
        flat = _last_axis(ctx, op_type, folded(ctx, x, groups), like_folded(ctx, out, groups))
        return ctx.reshape(flat, out.shape, "unfolded", out)
    if op_type == "Softmax":
        return ctx.add("SOFTMAX", [x], out, schema.SoftmaxOptionsT(beta=1.0))
    return ctx.add("LOG_SOFTMAX", [x], out, schema.LogSoftmaxOptionsT())


LOWERINGS: dict[str, Lower] = {"LogSoftmax": lower_softmax, "Softmax": lower_softmax}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset(LOWERINGS)
"""Operators whose lowering is right for int8 tensors too."""
