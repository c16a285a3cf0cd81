"""Operators that read or write at computed positions."""

from __future__ import annotations

import numpy as np
import onnx_ir

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.lowering import CannotRead, Lowering, OpContext


def _gather(op: OpContext) -> None:
    options = op.options("GatherOptions")
    axis = op.axis(int(options.axis), op.rank(0))
    batch = int(options.batchDims)
    batch += op.rank(1) if batch < 0 else 0
    if not 0 <= batch <= min(axis, op.rank(1)):
        raise ModelFileError(f"GATHER {op.operator.index} has {batch} batch axes.")
    if batch == 0:
        op.emit(op.op("Gather", op.real(0), _indices(op, 1), axis=axis))
        return
    op.emit(_gather_batched(op, axis, batch))


def _gather_batched(op: OpContext, axis: int, batch: int) -> onnx_ir.Value:
    """GatherND with the axis brought right after the batch axes, and back."""
    rank, found = op.rank(0), op.rank(1) - batch
    between = list(range(batch, axis))
    x = op.real(0)
    if between:
        x = op.transpose(x, [*range(batch), axis, *between, *range(axis + 1, rank)])
    indices = op.op("Unsqueeze", op.as_int64(1), op.int64(-1))
    y = op.op("GatherND", x, indices, batch_dims=batch)
    if between:
        moved = list(range(batch + found, batch + found + len(between)))
        rest = range(batch + found + len(between), rank - 1 + found)
        y = op.transpose(y, [*range(batch), *moved, *range(batch, batch + found), *rest])
    return y


def _indices(op: OpContext, position: int) -> onnx_ir.Value:
    """Gather takes int32 and int64 as they are."""
    if op.tensor(position).dtype in ("INT32", "INT64"):
        return op.raw(position)
    return op.as_int64(position)


def _gather_nd(op: OpContext) -> None:
    op.emit(op.op("GatherND", op.real(0), op.as_int64(1)))


def _scatter_nd(op: OpContext) -> None:
    """Entries that meet at one position add up."""
    zero = onnx_ir.tensor(np.zeros(1, op.compute_type(1)))
    ground = op.op("ConstantOfShape", op.as_int64(2), value=zero)
    op.emit(op.op("ScatterND", ground, op.as_int64(0), op.real(1), reduction="add"))


def _sparse_to_dense(op: OpContext) -> None:
    """Positions of a vector may be given as a vector, or one as a scalar."""
    indices = op.as_int64(0)
    axes = {0: (0, 1), 1: (1,), 2: ()}.get(op.rank(0))
    if axes is None:
        raise ModelFileError(f"SPARSE_TO_DENSE {op.operator.index} has odd indices.")
    width = op.shape(1)[0] if op.rank(1) else None
    if op.rank(0) == 1 and width not in (1, None):
        axes = (0,)
    if axes:
        indices = op.op("Unsqueeze", indices, op.int64(*axes))
    updates = op.real(2)
    if op.rank(2) == 0:
        lead = op.op("Shape", indices, start=0, end=1)
        updates = op.op("Expand", updates, lead)
    ground = op.op("Expand", op.real(3), op.as_int64(1))
    op.emit(op.op("ScatterND", ground, indices, updates))


def _embedding_lookup(op: OpContext) -> None:
    op.emit(op.op("Gather", op.real(1), _indices(op, 0), axis=0))


def _one_hot(op: OpContext) -> None:
    """A negative index lights no position in TFLite, but counts from the end in ONNX."""
    axis = int(op.options("OneHotOptions").axis)
    depth = op.op("Reshape", op.as_int64(1), op.int64(1))
    indices = op.as_int64(0)
    beyond = op.op("Where", op.op("Less", indices, op.int64(0)), depth, indices)
    if not op.rank(0):
        beyond = op.op("Reshape", beyond, op.builder.constant(np.zeros(0, np.int64)))
    on = op.op("Reshape", op.real(2), op.int64(1))
    off = op.op("Reshape", op.real(3), op.int64(1))
    values = op.op("Concat", off, on, axis=0)
    op.emit(op.op("OneHot", beyond, depth, values, axis=axis))


def _unique(op: OpContext) -> None:
    """Wide integers, since ONNX Runtime finds unique values of few types."""
    narrow = op.compute_type().kind in "iu"
    x = op.as_int64(0) if narrow else op.raw(0)
    values, _, inverse, _ = op.builder.node("Unique", [x], 4, sorted=0)
    (op.emit_integers if narrow else op.emit_raw)(values)
    op.emit_integers(inverse, 1)


def _dynamic_update_slice(op: OpContext) -> None:
    """Scatter the update's elements at its coordinates plus the start, which is held inside."""
    sizes, part = op.shape(0), op.shape(1)
    known = [n for n in part if n is not None]
    if None in sizes or len(known) < len(part):
        raise CannotRead("the shape of its operand or update is open")
    room = [n - k for n, k in zip([n or 0 for n in sizes], known, strict=True)]
    if min(room, default=0) < 0 or int(np.prod(known)) > _LARGEST_UPDATE:
        raise CannotRead(f"it writes {list(part)} into {list(sizes)}")
    start = op.op("Min", op.op("Max", op.as_int64(2), op.int64(0)), op.int64(*room))
    grid = np.moveaxis(np.indices(known), 0, -1).astype(np.int64)
    places = op.op("Add", op.builder.constant(grid), start)
    op.emit(op.op("ScatterND", op.real(0), places, op.real(1)))


_LARGEST_UPDATE = 1 << 20

OPS: dict[str, Lowering] = {
    "DYNAMIC_UPDATE_SLICE": _dynamic_update_slice,
    "EMBEDDING_LOOKUP": _embedding_lookup,
    "GATHER": _gather,
    "GATHER_ND": _gather_nd,
    "ONE_HOT": _one_hot,
    "SCATTER_ND": _scatter_nd,
    "SPARSE_TO_DENSE": _sparse_to_dense,
    "UNIQUE": _unique,
}
