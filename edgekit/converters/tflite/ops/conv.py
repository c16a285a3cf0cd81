"""Convolutions: CONV_2D, DEPTHWISE_CONV_2D and CONV_3D."""

from __future__ import annotations

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Quantization, Tensor
from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering, int_attribute
from edgekit.converters.tflite.windows import (
    VALID,
    Window,
    pad,
    padding_code,
    padding_of,
    windows_of,
)
from edgekit.passes.canonicalize.transposes import NHWC_DOMAIN


def lower_conv(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Conv over channels-last data, with any padding, dilation and number of groups."""
    x, weights, out = ctx.input(node, 0), ctx.input(node, 1), ctx.output(node)
    require_channels_last(node)
    weights = with_height(ctx, weights, x.rank)
    kernel = [static(size) for size in weights.shape[2:]]
    windows = windows_of(node, x.shape[1:-1], kernel)
    padding = padding_of(windows)
    if padding is None:
        x, padding = pad(ctx, x, windows), VALID
    bias = bias_of(ctx, node, x, weights, static(weights.shape[0]))
    groups = int_attribute(node, "group", 1)
    if x.rank == 5:
        _conv_3d(ctx, x, weights, bias, out, windows, padding, groups)
    elif groups > 1 and weights.shape[1] == 1 and groups == x.shape[-1]:
        _depthwise(ctx, x, weights, bias, out, windows, padding)
    else:
        _conv_2d(ctx, x, weights, bias, out, windows, padding)


def _conv_2d(
    ctx: Lowering,
    x: Tensor,
    weights: Tensor,
    bias: Tensor,
    out: Tensor,
    windows: list[Window],
    padding: str,
) -> None:
    """CONV_2D takes groups from the number of channels of its filter."""
    high, wide = windows
    options = schema.Conv2DOptionsT(
        padding=padding_code(padding),
        strideH=high.stride,
        strideW=wide.stride,
        dilationHFactor=high.dilation,
        dilationWFactor=wide.dilation,
    )
    filters = ctx.transpose(weights, (0, 2, 3, 1), "filter")
    ctx.add("CONV_2D", [x, filters, bias], out, options)


def _depthwise(
    ctx: Lowering,
    x: Tensor,
    weights: Tensor,
    bias: Tensor,
    out: Tensor,
    windows: list[Window],
    padding: str,
) -> None:
    high, wide = windows
    options = schema.DepthwiseConv2DOptionsT(
        padding=padding_code(padding),
        strideH=high.stride,
        strideW=wide.stride,
        dilationHFactor=high.dilation,
        dilationWFactor=wide.dilation,
        depthMultiplier=static(weights.shape[0]) // static(x.shape[-1]),
    )
    filters = ctx.transpose(weights, (1, 2, 3, 0), "filter")
    ctx.add("DEPTHWISE_CONV_2D", [x, filters, bias], out, options)


def _conv_3d(
    ctx: Lowering,
    x: Tensor,
    weights: Tensor,
    bias: Tensor,
    out: Tensor,
    windows: list[Window],
    padding: str,
    groups: int,
) -> None:
    if groups > 1 or x.quantization is not None:
        raise CannotLower("a 3-D convolution with groups or in int8")
    deep, high, wide = windows
    options = schema.Conv3DOptionsT(
        padding=padding_code(padding),
        strideD=deep.stride,
        strideH=high.stride,
        strideW=wide.stride,
        dilationDFactor=deep.dilation,
        dilationHFactor=high.dilation,
        dilationWFactor=wide.dilation,
    )
    filters = ctx.transpose(weights, (2, 3, 4, 1, 0), "filter")
    ctx.add("CONV_3D", [x, filters, bias], out, options)


def require_channels_last(node: onnx_ir.Node) -> None:
    """Refuse a node that layout assignment has left alone."""
    if node.domain != NHWC_DOMAIN:
        raise CannotLower("its operand has an unknown or unusual rank", "fix the input shapes")


def with_height(ctx: Lowering, weights: Tensor, rank: int) -> Tensor:
    """Weights of a one-dimensional convolution with a height of 1."""
    if weights.rank == rank:
        return weights
    if weights.data is None:
        return ctx.reshape(weights, (*weights.shape[:2], 1, *weights.shape[2:]), "wide")
    return ctx.constant(np.expand_dims(weights.data, 2), "wide", weights.quantization)


def bias_of(ctx: Lowering, node: onnx_ir.Node, x: Tensor, weights: Tensor, channels: int) -> Tensor:
    """The bias, which these operators require: zeros where the node has none."""
    bias = ctx.optional_input(node, 2)
    if bias is not None:
        return bias
    if x.quantization is None or weights.quantization is None:
        return ctx.constant(np.zeros(channels, np.float32), "bias")
    scale = (x.quantization.scale * weights.quantization.scale).astype(np.float32)
    quantization = Quantization(scale, np.zeros(scale.size, np.int64))
    return ctx.constant(np.zeros(channels, np.int32), "bias", quantization)


def static(size: int | None) -> int:
    """A size that must be known."""
    if size is None:
        raise CannotLower("a dynamic number of channels or taps", "fix the input shapes")
    return size


LOWERINGS: dict[str, Lower] = {"Conv": lower_conv}
