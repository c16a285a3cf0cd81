"""Padding with a constant or with a mirror image."""

from __future__ import annotations

import numpy as np
import onnx_ir

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.lowering import Lowering, OpContext

_REFLECT = 0


def _pads(op: OpContext) -> onnx_ir.Value:
    """From one (before, after) row per axis to all befores, then all afters."""
    table = op.constant(1)
    if table is not None:
        pairs = table.reshape(-1, 2)
        if len(pairs) != op.rank(0):
            raise ModelFileError(f"{op.operator.kind} pads {len(pairs)} of {op.rank(0)} axes.")
        return op.builder.constant(np.ascontiguousarray(pairs.T).reshape(-1).astype(np.int64))
    columns = op.transpose(op.as_int64(1), (1, 0))
    return op.op("Reshape", columns, op.int64(-1))


def _pad(op: OpContext) -> None:
    op.emit(op.op("Pad", op.real(0), _pads(op), op.number(0.0), mode="constant"))


def _pad_v2(op: OpContext) -> None:
    fill = op.op("Reshape", op.real(2), op.builder.constant(np.zeros(0, np.int64)))
    op.emit(op.op("Pad", op.real(0), _pads(op), fill, mode="constant"))


def _mirror_pad(op: OpContext) -> None:
    """Symmetric padding repeats the edge itself, which ONNX lacks: join reversed slices."""
    if op.options("MirrorPadOptions").mode == _REFLECT:
        op.emit(op.op("Pad", op.real(0), _pads(op), mode="reflect"))
        return
    given = op.integers(1, "padding")
    x = op.real(0)
    for axis, (before, after) in enumerate(zip(given[::2], given[1::2], strict=True)):
        parts = [x]
        if before:
            parts.insert(0, _reversed(op, x, axis, before - 1, -_FAR))
        if after:
            parts.append(_reversed(op, x, axis, _FAR, -after - 1))
        if len(parts) > 1:
            x = op.op("Concat", *parts, axis=axis)
    op.emit(x if any(given) else op.op("Identity", x))


def _reversed(op: OpContext, x: onnx_ir.Value, axis: int, first: int, last: int) -> onnx_ir.Value:
    """Elements from `first` down to but without `last`."""
    return op.op("Slice", x, op.int64(first), op.int64(last), op.int64(axis), op.int64(-1))


_FAR = np.iinfo(np.int64).max

OPS: dict[str, Lowering] = {
    "MIRROR_PAD": _mirror_pad,
    "PAD": _pad,
    "PADV2": _pad_v2,
}
