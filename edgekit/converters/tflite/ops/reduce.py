"""Reductions over axes."""

from __future__ import annotations

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Shape, Tensor
from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering, int_attribute
from edgekit.converters.tflite.ops._build import (
    absent,
    cast_into,
    compute,
    compute_type,
    emit,
    options_of,
    positive_axis,
    required,
    reshape_like,
    scalar_like,
)
from edgekit.converters.tflite.ops._fold import folded, together, too_many_axes
from edgekit.converters.tflite.ops.shape import forward

_DIRECT = {
    "ReduceMax": "REDUCE_MAX",
    "ReduceMean": "MEAN",
    "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD",
    "ReduceSum": "SUM",
}
_BOOLEAN = {"ReduceMax": "REDUCE_ANY", "ReduceMin": "REDUCE_ALL"}


def lower_reduce(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Reductions that TFLite has under another name."""
    x, out = ctx.input(node, 0), ctx.output(node)
    axes = _axes(ctx, node, x)
    if axes is None:
        forward(ctx, node)
        return
    builtin = _DIRECT[node.op_type]
    if x.dtype == "bool":
        builtin = _BOOLEAN.get(node.op_type, builtin)
    if builtin == "MEAN" and x.dtype != "float32" and x.quantization is None:
        raise CannotLower(f"ReduceMean of {x.dtype}", "cast its input to float32")
    reduce_over(ctx, builtin, x, axes, bool(int_attribute(node, "keepdims", 1)), out)


def reduce_over(
    ctx: Lowering, builtin: str, x: Tensor, axes: tuple[int, ...], keep: bool, out: Tensor
) -> Tensor:
    """Append a reduction, through casts where its kernel lacks the type."""
    if not axes or x.rank == 0:
        return reshape_like(ctx, x, x, "copy", out)
    if too_many_axes(builtin, x):
        groups = together(x.rank, axes)
        merged = tuple(i for i, group in enumerate(groups) if group[0] in axes)
        flat = folded(ctx, x, groups)
        target = ctx.like(out, _reduced(flat.shape, merged), "reduced")
        result = reduce_over(ctx, builtin, flat, merged, True, target)
        return ctx.reshape(result, out.shape, "unfolded", out)
    options = schema.ReducerOptionsT(keepDims=keep)
    dtype = compute_type(builtin, x) if builtin != "MEAN" else x.dtype
    inputs = [ctx.cast(x, dtype, "wide"), ctx.constant(np.array(axes, np.int32), "axes")]
    if dtype == out.dtype:
        return ctx.add(builtin, inputs, out, options)
    result = ctx.add(builtin, inputs, ctx.temporary(dtype, out.shape, "reduced"), options)
    return cast_into(ctx, result, out)


def _axes(ctx: Lowering, node: onnx_ir.Node, x: Tensor) -> tuple[int, ...] | None:
    """The reduced axes; None when nothing is to be done."""
    given = None
    if not absent(node, 1):
        given = required(ctx, node, 1, f"the axes of {node.op_type}").reshape(-1)
    if given is None or not given.size:
        if int_attribute(node, "noop_with_empty_axes", 0):
            return None
        return tuple(range(x.rank))
    return tuple(sorted({positive_axis(int(axis), x.rank) for axis in given}))


def _reduced(shape: Shape, axes: tuple[int, ...]) -> Shape:
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


_BEFORE = {
    "ReduceL1": "ABS",
    "ReduceL2": "SQUARE",
    "ReduceLogSum": None,
    "ReduceSumSquare": "SQUARE",
}
_AFTER = {"ReduceL1": None, "ReduceL2": "SQRT", "ReduceLogSum": "LOG", "ReduceSumSquare": None}


def lower_composed(ctx: Lowering, node: onnx_ir.Node) -> None:
    """A function of each element, their sum, a function of the sum."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if x.quantization is not None:
        raise CannotLower(f"a quantized {node.op_type}", "keep this node in float")
    axes = _axes(ctx, node, x)
    keep = bool(int_attribute(node, "keepdims", 1)) or axes is None
    before, after = _BEFORE[node.op_type], _AFTER[node.op_type]
    if after and x.dtype != "float32":
        raise CannotLower(f"{node.op_type} of {x.dtype}", "cast its input to float32")
    if before == "ABS":
        x = compute(ctx, "ABS", [x], ctx.like(x, x.shape, "abs"), options_of("ABS"))
    elif before == "SQUARE":
        x = compute(ctx, "MUL", [x, x], ctx.like(x, x.shape, "square"), options_of("MUL"))
    total = out if after is None else ctx.like(out, out.shape, "sum")
    reduce_over(ctx, "SUM", x, axes or (), keep, total)
    if after:
        emit(ctx, after, [total], out)


def lower_log_sum_exp(ctx: Lowering, node: onnx_ir.Node) -> None:
    """ReduceLogSumExp: max + log(sum(exp(x - max))), which does not overflow."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if x.dtype != "float32":
        raise CannotLower(f"{node.op_type} of {x.dtype}", "keep this node in float32")
    axes = _axes(ctx, node, x)
    keep = bool(int_attribute(node, "keepdims", 1))
    if not axes:
        forward(ctx, node)
        return
    kept = _reduced(x.shape, axes)
    highest = reduce_over(ctx, "REDUCE_MAX", x, axes, True, ctx.like(x, kept, "max"))
    # An infinite maximum would make the difference NaN.
    limit = float(np.finfo(np.float32).max)
    highest = emit(ctx, "MINIMUM", [highest, scalar_like(ctx, x, limit, "limit")])
    highest = emit(ctx, "MAXIMUM", [highest, scalar_like(ctx, x, -limit, "limit")])
    powers = emit(ctx, "EXP", [emit(ctx, "SUB", [x, highest])])
    total = reduce_over(ctx, "SUM", powers, axes, True, ctx.like(x, kept, "sum"))
    target = out if keep else ctx.like(x, kept, "kept")
    result = emit(ctx, "ADD", [emit(ctx, "LOG", [total]), highest], target)
    if not keep:
        options = schema.SqueezeOptionsT(squeezeDims=np.array(axes, np.int32))
        ctx.add("SQUEEZE", [result], out, options)


LOWERINGS: dict[str, Lower] = {
    **dict.fromkeys(_DIRECT, lower_reduce),
    **dict.fromkeys(_BEFORE, lower_composed),
    "ReduceLogSumExp": lower_log_sum_exp,
}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset({"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"})
"""Operators whose lowering is right for int8 tensors too."""
