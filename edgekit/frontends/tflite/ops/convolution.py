"""Convolutions. TFLite computes channels-last; ONNX channels-first, between two Transposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.lowering import CannotRead, Lowering, OpContext
from edgekit.frontends.tflite.model import Shape
from edgekit.frontends.tflite.ops.bias import bias
from edgekit.frontends.tflite.ops.window import SAME, Window


def sizes_of(op: OpContext, position: int, rank: int) -> tuple[int, ...]:
    """Sizes of the weights, all of which must be known."""
    shape = op.shape(position)
    known = tuple(n for n in shape if n is not None)
    if len(shape) != rank or len(known) != rank or min(known, default=0) < 1:
        raise ModelFileError(f"the weights of {op.operator.kind} have the shape {list(shape)}.")
    return known


def _conv_2d(op: OpContext) -> None:
    options = op.options("Conv2DOptions")
    _, height, width, channels = sizes_of(op, 1, 4)
    window = Window(
        (height, width),
        (options.strideH, options.strideW),
        (options.dilationHFactor, options.dilationWFactor),
        options.padding,
    )
    given = _channels(op) or channels
    if given % channels:
        raise ModelFileError(f"CONV_2D {op.operator.index} takes {channels} of {given} channels.")
    y = _convolve(op, (0, 3, 1, 2), window, given // channels)
    op.emit(y, options.fusedActivationFunction)


def _depthwise_conv_2d(op: OpContext) -> None:
    options = op.options("DepthwiseConv2DOptions")
    _, height, width, channels = sizes_of(op, 1, 4)
    window = Window(
        (height, width),
        (options.strideH, options.strideW),
        (options.dilationHFactor, options.dilationWFactor),
        options.padding,
    )
    group = _channels(op) or channels // max(int(options.depthMultiplier), 1)
    y = _convolve(op, (3, 0, 1, 2), window, group)
    op.emit(y, options.fusedActivationFunction)


def _conv_3d(op: OpContext) -> None:
    options = op.options("Conv3DOptions")
    depth, height, width, _, _ = sizes_of(op, 1, 5)
    window = Window(
        (depth, height, width),
        (options.strideD, options.strideH, options.strideW),
        (options.dilationDFactor, options.dilationHFactor, options.dilationWFactor),
        options.padding,
    )
    y = _convolve(op, (4, 3, 0, 1, 2), window, 1)
    op.emit(y, options.fusedActivationFunction)


def _channels(op: OpContext) -> int | None:
    shape = op.shape(0)
    if len(shape) != 4:
        raise ModelFileError(f"the input of {op.operator.kind} has {len(shape)} axes, not 4.")
    return shape[-1]


def _convolve(op: OpContext, perm: tuple[int, ...], window: Window, group: int) -> onnx_ir.Value:
    rank = len(perm)
    x = op.channels_first(op.real(0), rank)
    operands = [x, op.weights(1, perm)]
    if op.has(2):
        operands.append(bias(op, 2, data=0, weights=1))
    attributes = window.attributes(op.shape(0)[1:-1])
    if op.operator.pads is not None:
        attributes["pads"] = list(op.operator.pads)
    return op.channels_last(op.op("Conv", *operands, group=max(group, 1), **attributes), rank)


def _transpose_conv(op: OpContext) -> None:
    options = op.options("TransposeConvOptions")
    _, height, width, _ = sizes_of(op, 1, 4)
    window = Window((height, width), (options.strideH, options.strideW), (1, 1), options.padding)
    y = transposed(op, 2, 1, 3, (3, 0, 1, 2), window, _wanted(op, 2))
    op.emit(y, options.fusedActivationFunction)


def _conv_3d_transpose(op: OpContext) -> None:
    options = op.options("Conv3DOptions")
    depth, height, width, _, _ = sizes_of(op, 1, 5)
    window = Window(
        (depth, height, width),
        (options.strideD, options.strideH, options.strideW),
        (1, 1, 1),
        options.padding,
    )
    y = transposed(op, 2, 1, 3, (4, 3, 0, 1, 2), window, _wanted(op, 3))
    op.emit(y, options.fusedActivationFunction)


def _wanted(op: OpContext, spatial: int) -> Shape:
    """Spatial sizes of the result, from the first input or the result's own shape."""
    sizes = op.partial(0) or op.result().shape
    if len(sizes) != spatial + 2:
        raise CannotRead("its output shape is computed at run time", "make it a constant")
    return sizes[1:-1]


def transposed(
    op: OpContext,
    data: int,
    weights: int,
    bias_position: int,
    perm: tuple[int, ...],
    window: Window,
    wanted: Shape,
) -> onnx_ir.Value:
    """A transposed convolution, channels last.

    Args:
        op: the operator.
        data: position of the input.
        weights: position of the weights.
        bias_position: position of the bias, which may be absent.
        perm: takes the weights to the order (in, out, spatial…).
        window: kernel, strides and padding.
        wanted: spatial sizes of the result.
    """
    rank = len(perm)
    operands = [op.channels_first(op.real(data), rank), op.weights(weights, perm)]
    if op.has(bias_position):
        operands.append(bias(op, bias_position, data=data, weights=weights))
    attributes = _transposed_attributes(op.shape(data)[1:-1], wanted, window)
    return op.channels_last(op.op("ConvTranspose", *operands, **attributes), rank)


def _transposed_attributes(sizes: Shape, wanted: Shape, window: Window) -> dict[str, Any]:
    """Pads that give the wanted size, divided as the forward convolution of TFLite would."""
    if None in sizes or None in wanted:
        raise CannotRead("the size of its input or output is open", "fix the spatial sizes")
    full = [
        (n - 1) * s + k
        for n, s, k in zip(_known(sizes), window.strides, window.kernel, strict=True)
    ]
    totals = [f - w for f, w in zip(full, _known(wanted), strict=True)]
    if window.padding != SAME and any(t > 0 for t in totals):
        raise ModelFileError(f"a transposed convolution of {sizes} cannot give {wanted}.")
    before = [max(t, 0) // 2 for t in totals]
    after = [max(t, 0) - b for t, b in zip(totals, before, strict=True)]
    extra = [max(-t, 0) for t in totals]
    if any(e >= s for e, s in zip(extra, window.strides, strict=True)):
        raise CannotRead(f"it pads its output by {extra}, which is not less than the stride")
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.strides),
        "pads": [*before, *after],
        "output_padding": extra if any(extra) else None,
    }


def _known(sizes: Shape) -> Sequence[int]:
    return [n for n in sizes if n is not None]


OPS: dict[str, Lowering] = {
    "CONV_2D": _conv_2d,
    "CONV_3D": _conv_3d,
    "CONV_3D_TRANSPOSE": _conv_3d_transpose,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "TRANSPOSE_CONV": _transpose_conv,
}
