"""Normalizations, written out: TFLite has operators for the L2 norm and for LRN only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Shape, Tensor
from edgekit.converters.tflite.lowering import (
    CannotLower,
    Lower,
    Lowering,
    constant_operand,
    float_attribute,
    int_attribute,
)
from edgekit.converters.tflite.ops._build import emit
from edgekit.converters.tflite.ops.conv import require_channels_last, static
from edgekit.passes.canonicalize.transposes import NHWC_DOMAIN


def lower_batch_norm(ctx: Lowering, node: onnx_ir.Node) -> None:
    """BatchNormalization: a constant scale and shift for each channel."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if node.domain != NHWC_DOMAIN and x.rank != 2:
        raise CannotLower("its operand has an unknown or unusual rank", "fix the input shapes")
    _float_only(x)
    gamma, beta, mean, variance = (
        constant_operand(node, index, what).astype(np.float64)
        for index, what in enumerate(("scale", "bias", "mean", "variance"), 1)
    )
    scale = gamma / np.sqrt(variance + float_attribute(node, "epsilon", 1e-5))
    shift = beta - mean * scale
    scaled = emit(ctx, "MUL", [x, ctx.constant(scale.astype(x.dtype), "scale")])
    emit(ctx, "ADD", [scaled, ctx.constant(shift.astype(x.dtype), "shift")], out)


def lower_instance_norm(ctx: Lowering, node: onnx_ir.Node) -> None:
    """InstanceNormalization: each channel of each sample by itself."""
    require_channels_last(node)
    x = ctx.input(node, 0)
    normal = _standardized(ctx, x, tuple(range(1, x.rank - 1)), _epsilon(node))
    _scale_and_shift(ctx, normal, ctx.input(node, 1), ctx.input(node, 2), ctx.output(node))


def lower_group_norm(ctx: Lowering, node: onnx_ir.Node) -> None:
    """GroupNormalization: groups of channels of each sample; scale and bias per channel."""
    require_channels_last(node)
    x, out = ctx.input(node, 0), ctx.output(node)
    groups = int_attribute(node, "num_groups", 1)
    members = static(x.shape[-1]) // groups
    places = 1
    for size in x.shape[1:-1]:
        places *= static(size)
    grouped = ctx.reshape(x, (x.shape[0], places, groups, members), "groups")
    normal = _standardized(ctx, grouped, (1, 3), _epsilon(node))
    whole = ctx.reshape(normal, x.shape, "channels")
    _scale_and_shift(ctx, whole, ctx.input(node, 1), ctx.input(node, 2), out)


def lower_layer_norm(ctx: Lowering, node: onnx_ir.Node) -> None:
    """LayerNormalization over the axes from `axis` on."""
    if any(v.uses() or v.is_graph_output() for v in node.outputs[1:]):
        raise CannotLower("the mean or the deviation are used as outputs")
    x, out = ctx.input(node, 0), ctx.output(node)
    first = int_attribute(node, "axis", -1) % x.rank
    normal = _standardized(ctx, x, tuple(range(first, x.rank)), _epsilon(node))
    _scale_and_shift(ctx, normal, ctx.input(node, 1), ctx.optional_input(node, 2), out)


def lower_lp_norm(ctx: Lowering, node: onnx_ir.Node) -> None:
    """LpNormalization; p=2 over the last axis is L2_NORMALIZATION."""
    x, out = ctx.input(node, 0), ctx.output(node)
    axis = int_attribute(node, "axis", -1) % x.rank
    power = int_attribute(node, "p", 2)
    if power == 2 and axis == x.rank - 1:
        ctx.add("L2_NORMALIZATION", [x], out, schema.L2NormOptionsT())
        return
    _float_only(x)
    size = emit(ctx, "SQUARE" if power == 2 else "ABS", [x])
    norm = _reduce(ctx, "SUM", size, (axis,))
    if power == 2:
        norm = emit(ctx, "SQRT", [norm])
    emit(ctx, "DIV", [x, norm], out)


def lower_lrn(ctx: Lowering, node: onnx_ir.Node) -> None:
    """LRN: LOCAL_RESPONSE_NORMALIZATION, whose alpha is not divided by the size."""
    require_channels_last(node)
    x, size = ctx.input(node, 0), int_attribute(node, "size", 1)
    if size % 2 == 0:
        raise CannotLower("an even size")
    options = schema.LocalResponseNormalizationOptionsT(
        radius=size // 2,
        bias=float_attribute(node, "bias", 1.0),
        alpha=float_attribute(node, "alpha", 1e-4) / size,
        beta=float_attribute(node, "beta", 0.75),
    )
    ctx.add("LOCAL_RESPONSE_NORMALIZATION", [x], ctx.output(node), options)


def _epsilon(node: onnx_ir.Node) -> float:
    return float_attribute(node, "epsilon", 1e-5)


def _float_only(x: Tensor) -> None:
    if x.quantization is not None:
        raise CannotLower("it has no int8 form", "leave it in float")


def _standardized(ctx: Lowering, x: Tensor, axes: Sequence[int], epsilon: float) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) over some axes."""
    _float_only(x)
    mean = _reduce(ctx, "MEAN", x, axes)
    variance = _reduce(ctx, "MEAN", emit(ctx, "SQUARED_DIFFERENCE", [x, mean]), axes)
    floor = ctx.constant(np.array(epsilon, x.dtype), "epsilon")
    factor = emit(ctx, "RSQRT", [emit(ctx, "ADD", [variance, floor])])
    return emit(ctx, "MUL", [emit(ctx, "SUB", [x, mean]), factor])


def _reduce(ctx: Lowering, builtin: str, x: Tensor, axes: Sequence[int]) -> Tensor:
    shape: Shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    table = ctx.constant(np.array(axes, np.int32), "axes")
    out = ctx.like(x, shape, builtin.lower())
    return ctx.add(builtin, [x, table], out, schema.ReducerOptionsT(keepDims=True))


def _scale_and_shift(
    ctx: Lowering, x: Tensor, scale: Tensor, shift: Tensor | None, out: Tensor
) -> None:
    if shift is None:
        emit(ctx, "MUL", [x, scale], out)
        return
    emit(ctx, "ADD", [emit(ctx, "MUL", [x, scale]), shift], out)


LOWERINGS: dict[str, Lower] = {
    "BatchNormalization": lower_batch_norm,
    "GroupNormalization": lower_group_norm,
    "InstanceNormalization": lower_instance_norm,
    "LRN": lower_lrn,
    "LayerNormalization": lower_layer_norm,
    "LpNormalization": lower_lp_norm,
}
