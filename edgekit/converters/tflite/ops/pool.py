"""Pools over windows: MAX_POOL_2D and AVERAGE_POOL_2D."""

from __future__ import annotations

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgekit.converters.tflite.graph import Quantization, Tensor
from edgekit.converters.tflite.lowering import (
    CannotLower,
    Lower,
    Lowering,
    int_attribute,
    ints_attribute,
)
from edgekit.converters.tflite.ops._build import emit
from edgekit.converters.tflite.ops.conv import require_channels_last
from edgekit.converters.tflite.windows import (
    SAME,
    VALID,
    Window,
    ceil_mode,
    pad,
    padding_code,
    padding_of,
    windows_of,
)


def lower_max_pool(ctx: Lowering, node: onnx_ir.Node) -> None:
    """MaxPool; padding never wins, so it is the least value."""
    _require_flat(node)
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        raise CannotLower("the indices of the maxima are used", "remove the Indices output")
    x, windows = _windows(ctx, node)
    if _subsample(ctx, node, x, windows):
        return
    padding = padding_of(windows)
    if padding is None:
        lowest = float(np.finfo(np.float32).min)
        x, padding = pad(ctx, x, windows, fill=lowest), VALID
    ctx.add("MAX_POOL_2D", [x], ctx.output(node), _options(windows, padding))


def lower_average_pool(ctx: Lowering, node: onnx_ir.Node) -> None:
    """AveragePool; TFLite's SAME leaves padding out of the average.

    Where ONNX counts other cells than the kernel would, the padded average is scaled by the ratio,
    which is known for each window.
    """
    _require_flat(node)
    x, windows = _windows(ctx, node)
    if _subsample(ctx, node, x, windows):
        return
    out = ctx.output(node)
    padding = padding_of(windows)
    counted = bool(int_attribute(node, "count_include_pad", 0))
    if padding == VALID or (padding == SAME and not counted):
        ctx.add("AVERAGE_POOL_2D", [x], out, _options(windows, padding))
        return
    ratio = _ratio(node, windows, counted=counted)
    padded = pad(ctx, x, windows)
    if ratio is None:
        ctx.add("AVERAGE_POOL_2D", [padded], out, _options(windows, VALID))
        return
    mean = ctx.like(out, out.shape, "average")
    ctx.add("AVERAGE_POOL_2D", [padded], mean, _options(windows, VALID))
    emit(ctx, "MUL", [mean, _constant_like(ctx, ratio, x)], out)


def _require_flat(node: onnx_ir.Node) -> None:
    """Refuse pools that are not over one or two spatial axes."""
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if shape is not None and len(shape) > 4:
        spatial = len(shape) - 2
        raise CannotLower(
            f"TFLite has no {spatial}-D pooling",
            "pool over two axes first, then, reshaped, over the others",
        )
    require_channels_last(node)


def _windows(ctx: Lowering, node: onnx_ir.Node) -> tuple[Tensor, list[Window]]:
    x = ctx.input(node, 0)
    if x.rank != 4:
        raise CannotLower("a pool over 3 spatial axes")
    kernel = ints_attribute(node, "kernel_shape") or ()
    ceil = ceil_mode(node)
    windows = windows_of(node, x.shape[1:3], kernel, ceil=ceil)
    if any(window.dilation > 1 for window in windows):
        raise CannotLower("dilations in a pool")
    if ceil and any(window.size is None and window.stride > 1 for window in windows):
        raise CannotLower("ceil_mode with a dynamic size", "fix the input shapes")
    return x, windows


def _subsample(ctx: Lowering, node: onnx_ir.Node, x: Tensor, windows: list[Window]) -> bool:
    """Windows of one element only skip some: a STRIDED_SLICE, which every delegate takes."""
    if any(window.kernel > 1 or not window.is_valid() for window in windows):
        return False
    zeros = ctx.constant(np.zeros(4, np.int32), "begin")
    steps = np.array([1, windows[0].stride, windows[1].stride, 1], np.int32)
    options = schema.StridedSliceOptionsT(beginMask=15, endMask=15)
    operands = [x, zeros, zeros, ctx.constant(steps, "steps")]
    ctx.add("STRIDED_SLICE", operands, ctx.output(node), options)
    return True


def _options(windows: list[Window], padding: str) -> schema.Pool2DOptionsT:
    high, wide = windows
    return schema.Pool2DOptionsT(
        padding=padding_code(padding),
        strideH=high.stride,
        strideW=wide.stride,
        filterHeight=high.kernel,
        filterWidth=wide.kernel,
    )


def _ratio(
    node: onnx_ir.Node, windows: list[Window], *, counted: bool
) -> NDArray[np.float32] | None:
    """Cells of a window over cells that ONNX counts, [1, H, W, 1]; None when always 1."""
    pads = ints_attribute(node, "pads", (0, 0, 0, 0)) or ()
    factors = []
    for axis, window in enumerate(windows):
        count = window.positions()
        behind = max(pads[axis + 2], 0) if counted else 0
        if window.size is None or count is None:
            if counted and not ceil_mode(node):
                factors.append(np.ones(1))
                continue
            raise CannotLower("padding that is not counted, with a dynamic size")
        start = np.arange(count) * window.stride - window.before
        low = start if counted else np.maximum(start, 0)
        high = np.minimum(start + window.kernel, window.size + behind)
        factors.append(window.kernel / (high - low))
    ratio = (factors[0][:, None] * factors[1][None, :]).astype(np.float32)
    return None if bool((ratio == 1).all()) else ratio[None, :, :, None]


def _constant_like(ctx: Lowering, ratio: NDArray[np.float32], x: Tensor) -> Tensor:
    """The ratio as a constant operand beside `x`: quantized where `x` is."""
    if x.quantization is None:
        return ctx.constant(ratio, "ratio")
    scale = np.float32(ratio.max() / np.iinfo(x.dtype).max)
    quantization = Quantization(np.array([scale]), np.zeros(1, np.int64))
    return ctx.constant(np.round(ratio / scale).astype(x.dtype), "ratio", quantization)


LOWERINGS: dict[str, Lower] = {"MaxPool": lower_max_pool, "AveragePool": lower_average_pool}
