"""Operators that make tensors out of sizes: Shape, Range, ConstantOfShape, OneHot and others."""

from __future__ import annotations

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import (
    CannotLower,
    Lower,
    Lowering,
    int_attribute,
    tensor_type,
)
from edgekit.converters.tflite.ops._build import (
    absent,
    as_scalar,
    cast_into,
    emit,
    is_static,
    positive_axis,
    required,
    scalar_like,
    vector_slice,
)
from edgekit.converters.tflite.ops._index import coordinates


def _give(ctx: Lowering, node: onnx_ir.Node, data: np.ndarray) -> None:
    """Let the result be a constant; a copy where it is an output of the graph."""
    out = ctx.output(node)
    constant = ctx.constant(data.astype(out.dtype), "value")
    if node.outputs[0].is_graph_output():
        ctx.reshape(constant, data.shape, "copy", out)
    else:
        ctx.bind(node.outputs[0], constant)


def lower_shape(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Shape: a constant where the sizes are known."""
    x = ctx.input(node, 0)
    start, stop, _ = slice(
        int_attribute(node, "start", 0), int_attribute(node, "end", x.rank)
    ).indices(x.rank)
    stop = max(start, stop)
    wanted = x.shape[start:stop]
    if all(size is not None for size in wanted):
        _give(ctx, node, np.array([size or 0 for size in wanted], np.int64))
        return
    out, whole = ctx.output(node), (start, stop) == (0, x.rank)
    options = schema.ShapeOptionsT(outType=tensor_type("int64"))
    target = out if whole else ctx.temporary("int64", (x.rank,), "shape")
    sizes = ctx.add("SHAPE", [x], target, options)
    if not whole:
        bounds = [np.array([v], np.int32) for v in (start, stop - start)]
        inputs = [sizes, *(ctx.constant(bound, "bounds") for bound in bounds)]
        ctx.add("SLICE", inputs, out, schema.SliceOptionsT())


def lower_size(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Size: a constant where the sizes are known."""
    x = ctx.input(node, 0)
    if is_static(x):
        count = int(np.prod([size or 0 for size in x.shape], dtype=np.int64))
        _give(ctx, node, np.array(count, np.int64))
        return
    options = schema.ShapeOptionsT(outType=tensor_type("int64"))
    sizes = ctx.add("SHAPE", [x], ctx.temporary("int64", (x.rank,), "shape"), options)
    axes = ctx.constant(np.array([0], np.int32), "axis")
    ctx.add("REDUCE_PROD", [sizes, axes], ctx.output(node), schema.ReducerOptionsT(keepDims=False))


def lower_range(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Range."""
    bounds = [ctx.input(node, index) for index in range(3)]
    known = [bound.data for bound in bounds if bound.data is not None]
    if len(known) == len(bounds):
        _give(ctx, node, _arange(*(data.reshape(()) for data in known)))
        return
    out = ctx.output(node)
    if out.dtype not in ("float32", "int32", "int64"):
        raise CannotLower(f"Range of {out.dtype}", "cast its operands to float32 or int64")
    scalars = [as_scalar(ctx, bound, "bound") for bound in bounds]
    ctx.add("RANGE", scalars, out, schema.RangeOptionsT())


def _arange(start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> np.ndarray:
    count = max(int(np.ceil((limit - start) / delta)), 0)
    return np.asarray(start + np.arange(count).astype(start.dtype) * delta)


def lower_constant_of_shape(ctx: Lowering, node: onnx_ir.Node) -> None:
    """ConstantOfShape: a constant where the sizes are known, else FILL."""
    attribute = node.attributes.get("value")
    value = np.zeros(1, np.float32) if attribute is None else attribute.as_tensor().numpy()
    sizes, out = ctx.input(node, 0), ctx.output(node)
    if sizes.data is not None:
        _give(ctx, node, np.full(sizes.data.tolist(), value.reshape(())))
        return
    fill = ctx.constant(value.reshape(()), "value")
    ctx.add("FILL", [ctx.cast(sizes, "int32", "sizes"), fill], out, schema.FillOptionsT())


def _diagonals(ctx: Lowering, x: Tensor) -> Tensor:
    """Column minus row over the last two axes, int32."""
    rows = coordinates(ctx, x, x.rank - 2, 1)
    columns = coordinates(ctx, x, x.rank - 1, 1)
    if rows.data is not None and columns.data is not None:
        return ctx.constant(columns.data - rows.data, "diagonals")
    return emit(ctx, "SUB", [columns, rows])


_COMPARISONS = {"EQUAL": np.equal, "GREATER_EQUAL": np.greater_equal, "LESS_EQUAL": np.less_equal}


def _compare(ctx: Lowering, builtin: str, diagonals: Tensor, k: int) -> Tensor:
    if diagonals.data is not None:
        return ctx.constant(_COMPARISONS[builtin](diagonals.data, k), "mask")
    return emit(ctx, builtin, [diagonals, scalar_like(ctx, diagonals, k, "k")], dtype="bool")


def lower_eye_like(ctx: Lowering, node: onnx_ir.Node) -> None:
    """EyeLike."""
    mask = _compare(ctx, "EQUAL", _diagonals(ctx, ctx.input(node, 0)), int_attribute(node, "k", 0))
    if mask.data is not None:
        _give(ctx, node, mask.data)
    else:
        cast_into(ctx, mask, ctx.output(node))


def lower_trilu(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Trilu: one triangle of each matrix, zeros elsewhere."""
    x = ctx.input(node, 0)
    k = 0 if absent(node, 1) else int(required(ctx, node, 1, "the diagonal").reshape(()))
    builtin = "GREATER_EQUAL" if int_attribute(node, "upper", 1) else "LESS_EQUAL"
    mask = _compare(ctx, builtin, _diagonals(ctx, x), k)
    emit(ctx, "SELECT_V2", [mask, x, scalar_like(ctx, x, 0, "zero")], ctx.output(node))


def lower_one_hot(ctx: Lowering, node: onnx_ir.Node) -> None:
    """OneHot; negative indices count from the back."""
    indices, depth, values = (ctx.input(node, index) for index in range(3))
    out = ctx.output(node)
    axis = positive_axis(int_attribute(node, "axis", -1), out.rank)
    if out.dtype not in ("float32", "int32", "int64", "int8", "uint8", "bool"):
        raise CannotLower(f"OneHot of {out.dtype}", "use values of float32 or int32")
    count = as_scalar(ctx, ctx.cast(depth, "int32", "depth"), "depth")
    chosen = ctx.cast(indices, "int32", "indices")
    if chosen.data is None:
        zero = scalar_like(ctx, chosen, 0, "zero")
        negative = emit(ctx, "LESS", [chosen, zero], dtype="bool")
        shifted = emit(ctx, "ADD", [chosen, count])
        chosen = emit(ctx, "SELECT_V2", [negative, shifted, chosen], dtype="int32")
    elif count.data is not None:
        chosen = ctx.constant(
            np.where(chosen.data < 0, chosen.data + count.data, chosen.data).astype(np.int32),
            "indices",
        )
    options = schema.OneHotOptionsT(axis=axis if axis < out.rank - 1 else -1)
    off, on = (
        as_scalar(ctx, vector_slice(ctx, values, i, i + 1, "value"), "value") for i in (0, 1)
    )
    ctx.add("ONE_HOT", [chosen, count, on, off], out, options)


def lower_non_zero(ctx: Lowering, node: onnx_ir.Node) -> None:
    """NonZero: WHERE has the coordinates as rows, ONNX as columns."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if x.rank == 0:
        raise CannotLower("NonZero of a scalar", "reshape its input to one axis")
    if x.dtype not in ("bool", "float32", "int32", "int64", "int8", "uint8"):
        x = ctx.cast(x, "int32" if "int" in x.dtype else "float32", "wide")
    found = ctx.temporary("int64", (None, x.rank), "coordinates")
    ctx.add("WHERE", [x], found, schema.WhereOptionsT())
    ctx.transpose(found, (1, 0), "columns", out)


LOWERINGS: dict[str, Lower] = {
    "ConstantOfShape": lower_constant_of_shape,
    "EyeLike": lower_eye_like,
    "NonZero": lower_non_zero,
    "OneHot": lower_one_hot,
    "Range": lower_range,
    "Shape": lower_shape,
    "Size": lower_size,
    "Trilu": lower_trilu,
}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset({"Shape", "Size", "Trilu"})
"""Operators whose lowering is right for int8 tensors too."""
