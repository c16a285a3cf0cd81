"""Reading elements by index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import Lower, Lowering, int_attribute
from edgekit.converters.tflite.ops._build import (
    emit,
    positive_axis,
    scalar_like,
    shape_vector,
    vector_slice,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def wrapped_indices(ctx: Lowering, indices: Tensor, x: Tensor, axis: int) -> Tensor:
    """Indices along an axis with the negative ones counted from the back, as ONNX has them.

    Args:
        ctx: the conversion.
        indices: int32 or int64.
        x: what they index.
        axis: along which axis.
    """
    size = x.shape[axis]
    if indices.data is not None and (size is not None or (indices.data >= 0).all()):
        data: NDArray[np.int32] = np.where(
            indices.data < 0, indices.data + (size or 0), indices.data
        )
        return ctx.constant(data.astype(np.int32), "indices")
    narrow = ctx.cast(indices, "int32", "indices")
    if size is None:
        length = vector_slice(ctx, shape_vector(ctx, x), axis, axis + 1, "length")
    else:
        length = ctx.constant(np.array([size], np.int32), "length")
    if narrow.rank == 0:
        length = ctx.reshape(length, (), "length")
    negative = emit(ctx, "LESS", [narrow, scalar_like(ctx, narrow, 0, "zero")], dtype="bool")
    shifted = emit(ctx, "ADD", [narrow, length])
    return emit(ctx, "SELECT_V2", [negative, shifted, narrow], dtype="int32")


def lower_gather(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Gather slices along an axis."""
    x = ctx.input(node, 0)
    axis = positive_axis(int_attribute(node, "axis", 0), x.rank)
    indices = wrapped_indices(ctx, ctx.input(node, 1), x, axis)
    options = schema.GatherOptionsT(axis=axis, batchDims=0)
    ctx.add("GATHER", [x, indices], ctx.output(node), options)


LOWERINGS: dict[str, Lower] = {"Gather": lower_gather}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset(LOWERINGS)
"""Operators whose lowering is right for int8 tensors too."""
