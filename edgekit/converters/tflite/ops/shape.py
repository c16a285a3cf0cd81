"""Operators that only change how many axes there are, and in which order."""

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
    ints_attribute,
)
from edgekit.converters.tflite.ops._build import (
    absent,
    concat_vectors,
    emit,
    is_static,
    positive_axis,
    required,
    reshape_like,
    scalar_like,
    shape_vector,
    vector_slice,
)


def forward(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Let the result be the operand itself; a copy where the graph's interface needs one."""
    x, value = ctx.input(node, 0), node.outputs[0]
    source = node.inputs[0]
    shared = x.is_constant or (
        source is not None and (source.is_graph_input() or source.is_graph_output())
    )
    if value.is_graph_output() and shared:
        out = ctx.output(node)
        reshape_like(ctx, x, x, "copy", out)
    else:
        ctx.bind(value, x)


def lower_dropout(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Dropout at inference: the identity, and a mask of ones for whoever asks."""
    if not absent(node, 2) and bool(required(ctx, node, 2, "the training mode")):
        raise CannotLower("Dropout in training mode", "export the model for inference")
    forward(ctx, node)
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        mask = ctx.output(node, 1)
        x = ctx.input(node, 0)
        emit(ctx, "EQUAL", [x, x], mask)


def lower_reshape(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Reshape; at most one size is left to the runtime, more are computed from the input's."""
    x, target, out = ctx.input(node, 0), ctx.input(node, 1), ctx.output(node)
    if sum(size is None for size in out.shape) <= 1 and _unambiguous(out):
        ctx.reshape(x, out.shape, "reshape", out)
        return
    keep_zeros = bool(int_attribute(node, "allowzero", 0))
    vector = _requested(ctx, x, target, keep_zeros)
    ctx.add("RESHAPE", [x, vector], out, schema.ReshapeOptionsT())


def _unambiguous(out: Tensor) -> bool:
    return is_static(out) or 0 not in out.shape


def _requested(ctx: Lowering, x: Tensor, target: Tensor, keep_zeros: bool) -> Tensor:
    """The sizes that a Reshape asks for, with zeros replaced by the input's sizes."""
    vector = ctx.cast(target, "int32", "shape")
    if keep_zeros or (vector.data is not None and (vector.data != 0).all()):
        return vector
    sizes = shape_vector(ctx, x, "sizes")
    if vector.data is not None:
        parts = [
            vector_slice(ctx, vector if size else sizes, axis, axis + 1, "size")
            for axis, size in enumerate(vector.data)
        ]
        return concat_vectors(ctx, parts, "shape")
    length = vector.shape[0]
    if length is None:
        raise CannotLower("the rank of the result is not known", "fix the input shapes")
    if length <= x.rank:
        sizes = vector_slice(ctx, sizes, 0, length, "sizes")
    else:
        ones = ctx.constant(np.ones(length - x.rank, np.int32), "ones")
        sizes = concat_vectors(ctx, [sizes, ones], "sizes")
    is_zero = emit(ctx, "EQUAL", [vector, scalar_like(ctx, vector, 0, "zero")], dtype="bool")
    return emit(ctx, "SELECT_V2", [is_zero, sizes, vector], dtype="int32")


def lower_flatten(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Flatten to two axes."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if sum(size is None for size in out.shape) <= 1:
        ctx.reshape(x, out.shape, "reshape", out)
        return
    axis = int_attribute(node, "axis", 1)
    sizes = shape_vector(ctx, x)
    axis = axis + x.rank if axis < 0 else axis
    if axis not in (0, 1):
        sizes = vector_slice(ctx, sizes, axis, x.rank, "tail")
        tail = ctx.temporary("int32", (1,), "columns")
        axes = ctx.constant(np.array([0], np.int32), "axes")
        ctx.add("REDUCE_PROD", [sizes, axes], tail, schema.ReducerOptionsT(keepDims=True))
        rows = ctx.constant(np.array([-1], np.int32), "rows")
        vector = concat_vectors(ctx, [rows, tail], "shape")
    else:
        first = ctx.constant(np.array([1], np.int32), "one")
        head = vector_slice(ctx, sizes, 0, 1, "rows") if axis else first
        rest = ctx.constant(np.array([-1], np.int32), "columns")
        vector = concat_vectors(ctx, [head, rest], "shape")
    ctx.add("RESHAPE", [x, vector], out, schema.ReshapeOptionsT())


def lower_squeeze(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Squeeze: a RESHAPE unless several sizes are dynamic."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if sum(size is None for size in out.shape) <= 1:
        ctx.reshape(x, out.shape, "reshape", out)
        return
    axes = _axes(ctx, node)
    if axes is None:
        axes = [axis for axis, size in enumerate(x.shape) if size == 1]
    dims = np.array(sorted(positive_axis(axis, x.rank) for axis in axes), np.int32)
    ctx.add("SQUEEZE", [x], out, schema.SqueezeOptionsT(squeezeDims=dims))


def lower_unsqueeze(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Unsqueeze: a RESHAPE unless several sizes are dynamic."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if sum(size is None for size in out.shape) <= 1:
        ctx.reshape(x, out.shape, "reshape", out)
        return
    axes = sorted(positive_axis(axis, out.rank) for axis in _axes(ctx, node) or ())
    for position, axis in enumerate(axes):
        shape = (*x.shape[:axis], 1, *x.shape[axis:])
        target = out if position == len(axes) - 1 else ctx.like(x, shape, "expanded")
        index = ctx.constant(np.array(axis, np.int32), "axis")
        x = ctx.add("EXPAND_DIMS", [x, index], target, schema.ExpandDimsOptionsT())


def _axes(ctx: Lowering, node: onnx_ir.Node) -> list[int] | None:
    if absent(node, 1):
        return None
    return [int(axis) for axis in required(ctx, node, 1, "the axes").reshape(-1)]


def lower_transpose(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Transpose."""
    x, out = ctx.input(node, 0), ctx.output(node)
    perm = ints_attribute(node, "perm", tuple(reversed(range(x.rank)))) or ()
    if x.rank == 0:
        ctx.reshape(x, out.shape, "copy", out)
        return
    ctx.transpose(x, perm, "transpose", out)


LOWERINGS: dict[str, Lower] = {
    "Dropout": lower_dropout,
    "Flatten": lower_flatten,
    "Identity": forward,
    "Reshape": lower_reshape,
    "Squeeze": lower_squeeze,
    "Transpose": lower_transpose,
    "Unsqueeze": lower_unsqueeze,
}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset(LOWERINGS)
"""Operators whose lowering is right for int8 tensors too."""
