"""Slices, with every mask of STRIDED_SLICE, and reversals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.lowering import CannotRead, Lowering, OpContext

_LAST = np.iinfo(np.int64).max
_FIRST = np.iinfo(np.int64).min + 1


def _slice(op: OpContext) -> None:
    """A size of -1 reaches to the end."""
    begin, size = op.constant(1), op.constant(2)
    axes = op.int64(*range(op.rank(0)))
    if begin is not None and size is not None:
        starts, sizes = begin.reshape(-1).tolist(), size.reshape(-1).tolist()
        ends = [_LAST if n == -1 else b + n for b, n in zip(starts, sizes, strict=True)]
        op.emit(op.op("Slice", op.real(0), op.int64(*starts), op.int64(*ends), axes))
        return
    first, count = op.as_int64(1), op.as_int64(2)
    to_end = op.op("Equal", count, op.int64(-1))
    last = op.op("Where", to_end, op.int64(_LAST), op.op("Add", first, count))
    op.emit(op.op("Slice", op.real(0), first, last, axes))


@dataclass(frozen=True)
class _Entry:
    """What one element of begin/end/strides means.

    Attributes:
        index: which element.
        axis: of the input that it slices.
        shrink: it selects one index and drops the axis.
        open_begin: begin is ignored.
        open_end: end is ignored.
    """

    index: int
    axis: int
    shrink: bool
    open_begin: bool
    open_end: bool


def _strided_slice(op: OpContext) -> None:
    options = op.options("StridedSliceOptions")
    count = op.shape(1)[0] if op.rank(1) else 0
    if count is None:
        raise CannotRead("how many axes it slices is decided at run time")
    entries, inserted = _entries(op, options, count)
    strides = op.integers(3, "strides")
    if len(strides) != count or 0 in strides:
        raise ModelFileError(f"STRIDED_SLICE {op.operator.index} has the strides {strides}.")
    x = op.real(0)
    used = [e for e in entries if not (e.open_begin and e.open_end and strides[e.index] == 1)]
    if used:
        starts, ends = _bounds(op, used, strides, bool(options.offset))
        steps = op.int64(*(1 if e.shrink else strides[e.index] for e in used))
        x = op.op("Slice", x, starts, ends, op.int64(*(e.axis for e in used)), steps)
    dropped = [e.axis for e in entries if e.shrink]
    if dropped:
        x = op.op("Squeeze", x, op.int64(*dropped))
    if inserted:
        x = op.op("Unsqueeze", x, op.int64(*inserted))
    op.emit(x if used or dropped or inserted else op.op("Identity", x))


def _entries(op: OpContext, options: object, count: int) -> tuple[list[_Entry], list[int]]:
    """Which axis each element slices, and where new axes go in the result."""
    masks = {
        name: int(getattr(options, name))
        for name in ("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask")
    }

    def marked(name: str, index: int) -> bool:
        return bool(masks[name] >> index & 1)

    entries: list[_Entry] = []
    inserted: list[int] = []
    axis = position = 0
    for index in range(count):
        if marked("ellipsisMask", index):
            later = [
                i
                for i in range(index + 1, count)
                if not marked("newAxisMask", i) and not marked("ellipsisMask", i)
            ]
            skipped = op.rank(0) - len(later) - axis
            axis, position = axis + skipped, position + skipped
        elif marked("newAxisMask", index):
            inserted.append(position)
            position += 1
        else:
            if not 0 <= axis < op.rank(0):
                raise ModelFileError(f"STRIDED_SLICE {op.operator.index} slices too many axes.")
            shrink = marked("shrinkAxisMask", index)
            open_begin = marked("beginMask", index) and not shrink
            open_end = marked("endMask", index) and not shrink
            entries.append(_Entry(index, axis, shrink, open_begin, open_end))
            axis += 1
            position += 0 if shrink else 1
    return entries, inserted


def _bounds(
    op: OpContext, entries: list[_Entry], strides: tuple[int, ...], offset: bool
) -> tuple[onnx_ir.Value, onnx_ir.Value]:
    begin, end = op.constant(1), op.constant(2)
    if begin is None or end is None:
        return _computed_bounds(op, entries, strides, offset)
    starts: list[int] = []
    ends: list[int] = []
    for e in entries:
        backwards = strides[e.index] < 0
        first, last = int(begin.flat[e.index]), int(end.flat[e.index])
        if offset:
            last += first
        if e.shrink:
            last = first + 1 or _LAST
        starts.append((_LAST if backwards else 0) if e.open_begin else first)
        ends.append((_FIRST if backwards else _LAST) if e.open_end else last)
    return op.int64(*starts), op.int64(*ends)


def _computed_bounds(
    op: OpContext, entries: list[_Entry], strides: tuple[int, ...], offset: bool
) -> tuple[onnx_ir.Value, onnx_ir.Value]:
    """The same with begin or end known only at run time."""
    chosen = op.int64(*(e.index for e in entries))
    first = op.op("Gather", op.as_int64(1), chosen)
    last = op.op("Gather", op.as_int64(2), chosen)
    if offset:
        last = op.op("Add", first, last)
    shrink = [e.shrink for e in entries]
    if any(shrink):
        after = op.op("Add", first, op.int64(1))
        after = op.op("Where", op.op("Equal", after, op.int64(0)), op.int64(_LAST), after)
        last = op.op("Where", op.builder.constant(np.array(shrink)), after, last)
    backwards = [strides[e.index] < 0 for e in entries]
    if any(e.open_begin for e in entries):
        mask = op.builder.constant(np.array([e.open_begin for e in entries]))
        first = op.op("Where", mask, op.int64(*(_LAST if b else 0 for b in backwards)), first)
    if any(e.open_end for e in entries):
        mask = op.builder.constant(np.array([e.open_end for e in entries]))
        last = op.op("Where", mask, op.int64(*(_FIRST if b else _LAST for b in backwards)), last)
    return first, last


def _reverse(op: OpContext) -> None:
    axes = [op.axis(a, op.rank(0)) for a in op.integers(1, "axes")]
    count = len(axes)
    bounds = op.int64(*[_LAST] * count), op.int64(*[_FIRST] * count)
    op.emit(op.op("Slice", op.real(0), *bounds, op.int64(*axes), op.int64(*[-1] * count)))


def _reverse_sequence(op: OpContext) -> None:
    """ONNX takes the batch and the time on the first two axes only."""
    options = op.options("ReverseSequenceOptions")
    rank = op.rank(0)
    time, batch = op.axis(int(options.seqDim), rank), op.axis(int(options.batchDim), rank)
    x = op.real(0)
    perm = (time, batch, *(a for a in range(rank) if a not in (time, batch)))
    if {time, batch} == {0, 1}:
        op.emit(op.op("ReverseSequence", x, op.as_int64(1), time_axis=time, batch_axis=batch))
        return
    y = op.op("ReverseSequence", op.transpose(x, perm), op.as_int64(1), time_axis=0, batch_axis=1)
    op.emit(op.transpose(y, np.argsort(perm).tolist()))


OPS: dict[str, Lowering] = {
    "REVERSE_SEQUENCE": _reverse_sequence,
    "REVERSE_V2": _reverse,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
}
