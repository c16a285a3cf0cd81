"""Resize: RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR where they read the same elements.

Any other sampling of static sizes is a gather along each axis (nearest) or a product with a matrix
of weights (linear, cubic).
"""

from __future__ import annotations

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import (
    CannotLower,
    Lower,
    Lowering,
    constant_of,
    float_attribute,
    int_attribute,
    ints_attribute,
    operand,
    string_attribute,
)
from edgekit.converters.tflite.ops._build import emit, shape_vector, vector_slice
from edgekit.converters.tflite.ops.conv import require_channels_last
from edgekit.converters.tflite.resampling import (
    COORDINATES,
    Axis,
    Sampling,
    onnx_matrix,
    tflite_matrix,
)

_FLAGS = ((False, True), (False, False), (True, False))
"""(align_corners, half_pixel_centers) that the kernels take."""

_BUILTINS = {"nearest": "RESIZE_NEAREST_NEIGHBOR", "linear": "RESIZE_BILINEAR"}

_DYNAMIC = {
    ("linear", "half_pixel"): (False, True),
    ("linear", "pytorch_half_pixel"): (False, True),
    ("linear", "asymmetric"): (False, False),
    ("linear", "align_corners"): (True, False),
    ("nearest", "half_pixel"): (False, True),
    ("nearest", "asymmetric"): (False, False),
}
"""Flags for integer factors, where sizes are only known at run time."""


def lower_resize(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Resize of height and width."""
    require_channels_last(node)
    x, out = ctx.input(node, 0), ctx.output(node)
    sampling = _sampling(node)
    sizes = (*x.shape[1:3], *out.shape[1:3])
    if any(size is None for size in sizes):
        _dynamic(ctx, node, x, out, sampling)
        return
    axes = _axes(node, x, out)
    matrices = [onnx_matrix(axis, sampling) for axis in axes]
    flags = _matching(axes, matrices, sampling.mode)
    if flags is not None:
        target = ctx.constant(np.array([axis.result for axis in axes], np.int32), "size")
        _builtin(ctx, x, target, out, sampling.mode, flags)
    elif sampling.mode == "nearest":
        _gather(ctx, x, out, matrices)
    elif x.quantization is None:
        _product(ctx, x, out, matrices)
    else:
        raise CannotLower(
            f"int8 {sampling.mode} resizing with {sampling.coordinates} coordinates",
            "use half_pixel or align_corners",
        )


def _sampling(node: onnx_ir.Node) -> Sampling:
    coordinates = string_attribute(node, "coordinate_transformation_mode", "half_pixel")
    if coordinates not in COORDINATES:
        raise CannotLower(f"coordinate_transformation_mode {coordinates}")
    if int_attribute(node, "antialias", 0):
        raise CannotLower("antialias", "export the model without it")
    if string_attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise CannotLower("keep_aspect_ratio_policy", "give the sizes themselves")
    return Sampling(
        string_attribute(node, "mode", "nearest"),
        coordinates,
        string_attribute(node, "nearest_mode", "round_prefer_floor"),
        float_attribute(node, "cubic_coeff_a", -0.75),
        bool(int_attribute(node, "exclude_outside", 0)),
    )


def _axes(node: onnx_ir.Node, x: Tensor, out: Tensor) -> list[Axis]:
    """Height and width. Scales and sizes are in the order of the ONNX operator: NCHW."""
    scales = _factors(node)
    found = []
    for axis in (1, 2):
        size, result = x.shape[axis], out.shape[axis]
        if size is None or result is None:
            raise CannotLower("a dynamic size", "fix the input shapes")
        scale = result / size if scales is None else float(scales[axis - 1])
        found.append(Axis(size, result, scale))
    if x.shape[0] != out.shape[0] or x.shape[3] != out.shape[3]:
        raise CannotLower("resizing of batch or channels")
    return found


def _factors(node: onnx_ir.Node) -> NDArray[np.float32] | None:
    """Scales of height and width; None where sizes are given instead."""
    scales = constant_of(operand(node, 2))
    if scales is None or scales.size == 0:
        return None
    named = ints_attribute(node, "axes", tuple(range(scales.size))) or ()
    table = {axis % 4: scale for axis, scale in zip(named, scales.tolist(), strict=True)}
    if table.get(0, 1.0) != 1.0 or table.get(1, 1.0) != 1.0:
        raise CannotLower("resizing of batch or channels")
    return np.array([table.get(2, 1.0), table.get(3, 1.0)], np.float32)


def _matching(
    axes: list[Axis], wanted: list[NDArray[np.float64]], mode: str
) -> tuple[bool, bool] | None:
    """Flags under which TFLite's operator reads what ONNX's does."""
    if mode not in _BUILTINS:
        return None
    for align, half in _FLAGS:
        matrices = [tflite_matrix(a, mode, align_corners=align, half_pixel=half) for a in axes]
        if all(np.allclose(m, w, atol=1e-5) for m, w in zip(matrices, wanted, strict=True)):
            return align, half
    return None


def _builtin(
    ctx: Lowering, x: Tensor, size: Tensor, out: Tensor, mode: str, flags: tuple[bool, bool]
) -> None:
    linear = mode == "linear"
    kind = schema.ResizeBilinearOptionsT if linear else schema.ResizeNearestNeighborOptionsT
    options = kind(alignCorners=flags[0], halfPixelCenters=flags[1])
    ctx.add(_BUILTINS[mode], [x, size], out, options)


def _gather(ctx: Lowering, x: Tensor, out: Tensor, matrices: list[NDArray[np.float64]]) -> None:
    rows, columns = (matrix.argmax(axis=1).astype(np.int32) for matrix in matrices)
    shape = (x.shape[0], rows.size, *x.shape[2:])
    high = ctx.add(
        "GATHER",
        [x, ctx.constant(rows, "rows")],
        ctx.like(x, shape, "high"),
        schema.GatherOptionsT(axis=1),
    )
    ctx.add("GATHER", [high, ctx.constant(columns, "columns")], out, schema.GatherOptionsT(axis=2))


def _product(ctx: Lowering, x: Tensor, out: Tensor, matrices: list[NDArray[np.float64]]) -> None:
    """Rows by a matrix from the left, then columns by another."""
    batch, high, wide, channels = x.shape
    if wide is None or channels is None:
        raise CannotLower("a dynamic size", "fix the input shapes")
    rows, columns = (matrix.astype(x.dtype) for matrix in matrices)
    flat = ctx.reshape(x, (batch, high, wide * channels), "rows")
    tall = _left(ctx, rows[None], flat, (batch, rows.shape[0], wide * channels))
    image = ctx.reshape(tall, (batch, rows.shape[0], wide, channels), "image")
    options = schema.BatchMatMulOptionsT()
    ctx.add("BATCH_MATMUL", [ctx.constant(columns[None, None], "weights"), image], out, options)


def _left(
    ctx: Lowering, matrix: NDArray[np.float32], x: Tensor, shape: tuple[int | None, ...]
) -> Tensor:
    options = schema.BatchMatMulOptionsT()
    weights = ctx.constant(matrix, "weights")
    return ctx.add("BATCH_MATMUL", [weights, x], ctx.like(x, shape, "tall"), options)


def _dynamic(ctx: Lowering, node: onnx_ir.Node, x: Tensor, out: Tensor, sampling: Sampling) -> None:
    """Integer factors of a size that is known at run time."""
    factors = _factors(node)
    flags = _DYNAMIC.get((sampling.mode, sampling.coordinates))
    if sampling.mode == "nearest" and sampling.coordinates == "asymmetric":
        flags = flags if sampling.rounding == "floor" else None
    if factors is None or flags is None or any(f < 1 or f != int(f) for f in factors):
        raise CannotLower(
            "a dynamic size with a factor or sampling that depends on it", "fix the input shapes"
        )
    present = vector_slice(ctx, shape_vector(ctx, x), 1, 3, "present")
    factor = ctx.constant(factors.astype(np.int32), "factor")
    size = emit(ctx, "MUL", [present, factor])
    _builtin(ctx, x, size, out, sampling.mode, flags)


LOWERINGS: dict[str, Lower] = {"Resize": lower_resize}
