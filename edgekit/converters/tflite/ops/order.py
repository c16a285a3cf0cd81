"""Operators about the order of elements along an axis: ArgMax, TopK, CumSum and others."""

from __future__ import annotations

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Quantization, Tensor
from edgekit.converters.tflite.lowering import (
    CannotLower,
    Lower,
    Lowering,
    int_attribute,
    tensor_type,
)
from edgekit.converters.tflite.ops._build import (
    as_scalar,
    cast_into,
    compute_type,
    emit,
    positive_axis,
    required,
    scalar_like,
)
from edgekit.converters.tflite.ops._index import size_scalar

_ARG = {
    "ArgMax": ("ARG_MAX", schema.ArgMaxOptionsT),
    "ArgMin": ("ARG_MIN", schema.ArgMinOptionsT),
}


def lower_arg(ctx: Lowering, node: onnx_ir.Node) -> None:
    """ArgMax and ArgMin; the last of equals is found from the back."""
    builtin, options = _ARG[node.op_type]
    x, out = ctx.input(node, 0), ctx.output(node)
    axis = positive_axis(int_attribute(node, "axis", 0), x.rank)
    last = bool(int_attribute(node, "select_last_index", 0))
    keep = bool(int_attribute(node, "keepdims", 1))
    source = ctx.cast(x, compute_type(builtin, x), "wide")
    axes = ctx.constant(np.array([axis], np.int32), "axis")
    if last:
        reverse = schema.ReverseV2OptionsT()
        source = ctx.add("REVERSE_V2", [source, axes], ctx.like(source, x.shape, "back"), reverse)
    index = ctx.constant(np.array(axis, np.int32), "axis")
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    found = out if not last and not keep else ctx.temporary(out.dtype, shape, "index")
    ctx.add(builtin, [source, index], found, options(outputType=tensor_type(out.dtype)))
    if last:
        size = size_scalar(ctx, x, axis, "size")
        one = scalar_like(ctx, size, 1, "one")
        if size.data is not None:
            end = ctx.constant(size.data - one.data, "end")
        else:
            end = emit(ctx, "SUB", [size, one])
        target = None if keep else out
        found = emit(ctx, "SUB", [ctx.cast(end, out.dtype, "end"), found], target)
    if keep:
        _expand(ctx, found, index, out)


def _expand(ctx: Lowering, x: Tensor, axis: Tensor, out: Tensor) -> None:
    if sum(size is None for size in out.shape) <= 1:
        ctx.reshape(x, out.shape, "kept", out)
    else:
        ctx.add("EXPAND_DIMS", [x, axis], out, schema.ExpandDimsOptionsT())


def lower_hardmax(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Hardmax: a one where the first maximum along an axis is."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if x.dtype != "float32":
        raise CannotLower(f"Hardmax of {x.dtype}", "keep this node in float32")
    axis = positive_axis(int_attribute(node, "axis", -1), x.rank)
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    index = ctx.constant(np.array(axis, np.int32), "axis")
    arg = schema.ArgMaxOptionsT(outputType=tensor_type("int32"))
    first = ctx.add("ARG_MAX", [x, index], ctx.temporary("int32", shape, "index"), arg)
    ends = [scalar_like(ctx, x, value, "value") for value in (1, 0)]
    options = schema.OneHotOptionsT(axis=axis if axis < x.rank - 1 else -1)
    ctx.add("ONE_HOT", [first, size_scalar(ctx, x, axis, "size"), *ends], out, options)


def lower_top_k(ctx: Lowering, node: onnx_ir.Node) -> None:
    """TopK: the largest along the last axis, others are brought there, the smallest negated."""
    x, k = ctx.input(node, 0), ctx.input(node, 1)
    values, indices = ctx.output(node, 0), ctx.output(node, 1)
    axis = positive_axis(int_attribute(node, "axis", -1), x.rank)
    perm = [*range(axis), *range(axis + 1, x.rank), axis]
    smallest = not int_attribute(node, "largest", 1)
    source = ctx.cast(x, compute_type("TOPK_V2", x), "wide")
    source = ctx.transpose(_mirror(ctx, source) if smallest else source, perm, "last")
    count = as_scalar(ctx, ctx.cast(k, "int32", "k"), "k")
    size = values.shape[axis]
    shape = (*source.shape[:-1], size)
    best = ctx.like(source, shape, "values")
    where = ctx.temporary("int32", shape, "indices")
    ctx.add("TOPK_V2", [source, count], [best, where], schema.TopKV2OptionsT())
    back = [perm.index(a) for a in range(x.rank)]
    best = ctx.transpose(best, back, "values")
    best = _mirror(ctx, best) if smallest else best
    _deliver(ctx, best, values)
    _deliver(ctx, ctx.transpose(where, back, "indices"), indices)


def _mirror(ctx: Lowering, x: Tensor) -> Tensor:
    """Reverse the order of values: -x, or -1 - x for stored integers, which cannot overflow."""
    if x.quantization is not None:
        points = -1 - x.quantization.zero_point
        mirrored = Quantization(x.quantization.scale, points, x.quantization.axis)
        out = ctx.temporary(x.dtype, x.shape, "mirror", mirrored)
        return emit(ctx, "SUB", [scalar_like(ctx, x, 0, "zero"), x], out)
    if x.dtype == "float32":
        return emit(ctx, "NEG", [x])
    return emit(ctx, "SUB", [scalar_like(ctx, x, -1, "mirror"), x])


def _deliver(ctx: Lowering, result: Tensor, out: Tensor) -> None:
    """Make a result the given output: the operator that wrote it writes there instead."""
    if result.dtype != out.dtype:
        cast_into(ctx, result, out)
        return
    writer = ctx.graph.operators[-1]
    for operator in reversed(ctx.graph.operators):
        if any(tensor is result for tensor in operator.outputs):
            writer = operator
            break
    writer.outputs = [out if tensor is result else tensor for tensor in writer.outputs]


def lower_cum_sum(ctx: Lowering, node: onnx_ir.Node) -> None:
    """CumSum."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if x.quantization is not None:
        raise CannotLower("a quantized CumSum", "keep this node in float")
    axis = positive_axis(int(required(ctx, node, 1, "the axis of CumSum").reshape(())), x.rank)
    options = schema.CumsumOptionsT(
        exclusive=bool(int_attribute(node, "exclusive", 0)),
        reverse=bool(int_attribute(node, "reverse", 0)),
    )
    dtype = compute_type("CUMSUM", x)
    inputs = [ctx.cast(x, dtype, "wide"), ctx.constant(np.array(axis, np.int32), "axis")]
    _deliver(ctx, ctx.add("CUMSUM", inputs, ctx.temporary(dtype, x.shape, "sums"), options), out)


def lower_reverse_sequence(ctx: Lowering, node: onnx_ir.Node) -> None:
    """ReverseSequence."""
    x, out = ctx.input(node, 0), ctx.output(node)
    options = schema.ReverseSequenceOptionsT(
        seqDim=int_attribute(node, "time_axis", 0), batchDim=int_attribute(node, "batch_axis", 1)
    )
    if x.dtype not in ("float32", "int32", "int64", "int16", "uint8"):
        raise CannotLower(f"ReverseSequence of {x.dtype}", "cast its input to float32 or int32")
    ctx.add("REVERSE_SEQUENCE", [x, ctx.input(node, 1)], out, options)


LOWERINGS: dict[str, Lower] = {
    **dict.fromkeys(_ARG, lower_arg),
    "CumSum": lower_cum_sum,
    "Hardmax": lower_hardmax,
    "ReverseSequence": lower_reverse_sequence,
    "TopK": lower_top_k,
}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset({"ArgMax", "ArgMin", "TopK"})
"""Operators whose lowering is right for int8 tensors too."""
