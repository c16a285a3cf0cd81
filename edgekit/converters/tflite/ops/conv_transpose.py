"""ConvTranspose: TRANSPOSE_CONV."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Quantization, Shape, Tensor
from edgekit.converters.tflite.lowering import (
    CannotLower,
    Lower,
    Lowering,
    int_attribute,
    ints_attribute,
)
from edgekit.converters.tflite.ops._build import concat_vectors, shape_vector, vector_slice
from edgekit.converters.tflite.ops.conv import bias_of, require_channels_last, static, with_height
from edgekit.converters.tflite.windows import SAME, VALID, padding_code, same_padding


@dataclass(frozen=True)
class _Extent:
    """What a transposed convolution makes along one axis.

    Attributes:
        size: of the input.
        kernel: number of taps, with those that dilation puts in between.
        stride: step between the places where input elements land.
        result: size of the result.
        cut: elements of the whole product in front of the result.
    """

    size: int
    kernel: int
    stride: int
    result: int
    cut: int

    def whole(self) -> int:
        """Size to compute so that the result can be cut out of it."""
        least = (self.size - 1) * self.stride + self.kernel
        wanted = self.cut + self.result
        if wanted >= least + self.stride:
            raise CannotLower("output_padding is not smaller than the stride")
        return max(least, wanted)

    def is_same(self) -> bool:
        """Whether the kernel's SAME cuts just that."""
        before, after = same_padding(self.result, self.kernel, self.stride)
        windows = (self.result + before + after - self.kernel) // self.stride + 1
        return before == self.cut and windows == self.size


def lower_conv_transpose(ctx: Lowering, node: onnx_ir.Node) -> None:
    """ConvTranspose over channels-last data; what is too much is computed and cut off."""
    require_channels_last(node)
    x, weights, out = ctx.input(node, 0), ctx.input(node, 1), ctx.output(node)
    weights = _dilated(ctx, node, with_height(ctx, weights, 4))
    extents = _extents(node, x, weights, out)
    groups = int_attribute(node, "group", 1)
    bias = bias_of(ctx, node, x, weights, static(out.shape[-1]))
    if groups == 1:
        _one_group(ctx, x, weights, bias, out, extents)
        return
    parts = _split(ctx, x, groups, axis=3)
    kernels = _cut_constant(ctx, weights, groups)
    biases = _cut_constant(ctx, bias, groups)
    shape = (*out.shape[:-1], static(out.shape[-1]) // groups)
    results = []
    for part, kernel, row in zip(parts, kernels, biases, strict=True):
        result = ctx.like(out, shape, "group")
        _one_group(ctx, part, kernel, row, result, extents)
        results.append(result)
    ctx.add("CONCATENATION", results, out, schema.ConcatenationOptionsT(axis=3))


def _extents(node: onnx_ir.Node, x: Tensor, weights: Tensor, out: Tensor) -> list[_Extent]:
    strides = ints_attribute(node, "strides", (1, 1)) or ()
    extra = ints_attribute(node, "output_padding", (0, 0)) or ()
    pads = ints_attribute(node, "pads", (0, 0, 0, 0)) or ()
    auto = node.attributes.get("auto_pad")
    implied = "output_shape" in node.attributes or (
        auto is not None and auto.as_string().startswith("SAME")
    )
    upper = auto is not None and auto.as_string() == "SAME_UPPER"
    found = []
    for axis in range(2):
        size, result = x.shape[1 + axis], out.shape[1 + axis]
        if size is None or result is None:
            raise CannotLower("a dynamic size", "fix the input shapes")
        kernel = static(weights.shape[2 + axis])
        cut = pads[axis]
        if implied:
            total = max((size - 1) * strides[axis] + extra[axis] + kernel - result, 0)
            cut = total // 2 if upper else total - total // 2
        found.append(_Extent(size, kernel, strides[axis], result, cut))
    return found


def _dilated(ctx: Lowering, node: onnx_ir.Node, weights: Tensor) -> Tensor:
    """Weights with the zeros that dilation puts between taps."""
    dilations = ints_attribute(node, "dilations", (1, 1)) or (1, 1)
    if all(step == 1 for step in dilations):
        return weights
    if weights.data is None:
        raise CannotLower("dilation of weights that are computed at run time")
    data = weights.data
    high, wide = ((n - 1) * step + 1 for n, step in zip(data.shape[2:], dilations, strict=True))
    spread = np.zeros((*data.shape[:2], high, wide), data.dtype)
    spread[:, :, :: dilations[0], :: dilations[1]] = data
    return ctx.constant(spread, "dilated", weights.quantization)


def _one_group(
    ctx: Lowering, x: Tensor, weights: Tensor, bias: Tensor, out: Tensor, extents: list[_Extent]
) -> None:
    same = all(extent.is_same() for extent in extents)
    sizes = [extent.result if same else extent.whole() for extent in extents]
    whole: Shape = (x.shape[0], *sizes, out.shape[3])
    exact = same or all(e.cut == 0 and e.result == s for e, s in zip(extents, sizes, strict=True))
    target = out if exact else ctx.like(out, whole, "whole")
    options = schema.TransposeConvOptionsT(
        padding=padding_code(SAME if same else VALID),
        strideH=extents[0].stride,
        strideW=extents[1].stride,
    )
    filters = ctx.transpose(weights, (1, 2, 3, 0), "filter")
    ctx.add("TRANSPOSE_CONV", [_sizes(ctx, x, whole), filters, x, bias], target, options)
    if not exact:
        begin = np.array([0, extents[0].cut, extents[1].cut, 0], np.int32)
        size = np.array([-1, extents[0].result, extents[1].result, -1], np.int32)
        operands = [target, ctx.constant(begin, "begin"), ctx.constant(size, "size")]
        ctx.add("SLICE", operands, out, schema.SliceOptionsT())


def _sizes(ctx: Lowering, x: Tensor, whole: Shape) -> Tensor:
    """The sizes of the result, of which the batch may only be known at run time."""
    rest = ctx.constant(np.array(whole[1:], np.int32), "size")
    if x.shape[0] is not None:
        return ctx.constant(np.array(whole, np.int32), "size")
    batch = vector_slice(ctx, shape_vector(ctx, x), 0, 1, "batch")
    return concat_vectors(ctx, [batch, rest], "sizes")


def _split(ctx: Lowering, x: Tensor, parts: int, axis: int) -> list[Tensor]:
    shape = tuple(static(s) // parts if i == axis else s for i, s in enumerate(x.shape))
    results = [ctx.like(x, shape, "part") for _ in range(parts)]
    operands = [ctx.constant(np.array(axis, np.int32), "axis"), x]
    ctx.add("SPLIT", operands, results, schema.SplitOptionsT(numSplits=parts))
    return results


def _cut_constant(ctx: Lowering, tensor: Tensor, parts: int) -> list[Tensor]:
    """A constant cut along its first axis, with the scales that go along."""
    if tensor.data is None:
        raise CannotLower("groups with weights that are computed at run time")
    quantization = tensor.quantization
    pieces: list[Quantization | None] = [quantization] * parts
    if quantization is not None and quantization.per_axis and tensor.rank == 1:
        scales = np.split(quantization.scale, parts)
        zeros = np.split(quantization.zero_point, parts)
        pieces = [Quantization(s, z, 0) for s, z in zip(scales, zeros, strict=True)]
    elif quantization is not None and quantization.per_axis:
        raise CannotLower("groups with one scale per channel", "quantize its weights per tensor")
    cuts = np.split(tensor.data, parts)
    return [ctx.constant(c, "group", q) for c, q in zip(cuts, pieces, strict=True)]


LOWERINGS: dict[str, Lower] = {"ConvTranspose": lower_conv_transpose}
