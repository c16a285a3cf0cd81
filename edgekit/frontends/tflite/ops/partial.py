"""What is known at read time about tensors that hold shapes.

With an open batch, converters write `SHAPE → STRIDED_SLICE → PACK → RESHAPE`: all but one entry of
the new shape are constants. Following the arithmetic turns that into a Reshape with one -1, which
every target takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from edgekit.frontends.tflite.lowering import OpContext

Known = tuple[int | None, ...]
"""Entries of a vector of integers (of a scalar: one), None where decided at run time."""


def track(op: OpContext) -> None:
    """Remember what is known of the result of an operator on shapes."""
    rule = _RULES.get(op.operator.builtin)
    known = rule(op) if rule is not None else None
    if known is not None:
        op.state.partial[op.result().index] = known


def _shape(op: OpContext) -> Known | None:
    return op.shape(0)


def _same(op: OpContext) -> Known | None:
    return op.partial(0)


def _strided_slice(op: OpContext) -> Known | None:
    known = op.partial(0)
    begin, end, strides = (op.constant(i) for i in (1, 2, 3))
    if known is None or op.rank(0) != 1 or begin is None or end is None or strides is None:
        return None
    options = op.options("StridedSliceOptions")
    if options.newAxisMask or options.ellipsisMask or options.offset or strides.size != 1:
        return None
    first, last, step = int(begin.flat[0]), int(end.flat[0]), int(strides.flat[0])
    if options.shrinkAxisMask:
        return (known[first],) if -len(known) <= first < len(known) else None
    return known[None if options.beginMask else first : None if options.endMask else last : step]


def _pack(op: OpContext) -> Known | None:
    parts = [op.partial(i) for i in range(op.input_count)]
    if any(op.rank(i) for i in range(op.input_count)):
        return None
    return tuple(None if part is None else part[0] for part in parts)


def _concatenation(op: OpContext) -> Known | None:
    parts = [op.partial(i) for i in range(op.input_count)]
    if any(part is None for part in parts):
        return None
    return tuple(entry for part in parts if part is not None for entry in part)


def _gather(op: OpContext) -> Known | None:
    known, indices = op.partial(0), op.constant(1)
    if known is None or op.rank(0) != 1 or indices is None or indices.ndim > 1:
        return None
    return tuple(known[int(i)] for i in indices.reshape(-1))


def _product(op: OpContext) -> Known | None:
    known = op.partial(0)
    if known is None or op.rank(0) != 1:
        return None
    present = [n for n in known if n is not None]
    return (math.prod(present) if len(present) == len(known) else None,)


_RULES: dict[str, Callable[[OpContext], Known | None]] = {
    "CAST": _same,
    "CONCATENATION": _concatenation,
    "GATHER": _gather,
    "PACK": _pack,
    "REDUCE_PROD": _product,
    "SHAPE": _shape,
    "STRIDED_SLICE": _strided_slice,
}
