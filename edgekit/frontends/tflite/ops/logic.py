"""Comparisons, logical and bitwise operators, and choices by a condition."""

from __future__ import annotations

from functools import partial

import onnx_ir

from edgekit.frontends.tflite.lowering import CannotRead, Lowering, OpContext


def _compare(kind: str, op: OpContext) -> None:
    op.emit_raw(op.op(kind, op.real(0), op.real(1)))


def _not_equal(op: OpContext) -> None:
    op.emit_raw(op.op("Not", op.op("Equal", op.real(0), op.real(1))))


def _logical(kind: str, op: OpContext) -> None:
    op.emit_raw(op.op(kind, *(op.raw(i) for i in range(op.input_count))))


def _select(op: OpContext) -> None:
    """Version 1 also takes a condition with one entry per row of the choices."""
    condition = op.raw(0)
    if op.rank(0) == 1 and op.rank(1) > 1:
        axes = op.int64(*range(1, op.rank(1)))
        condition = op.op("Unsqueeze", condition, axes)
    op.emit(op.op("Where", condition, op.real(1), op.real(2)))


def _select_v2(op: OpContext) -> None:
    op.emit(op.op("Where", op.raw(0), op.real(1), op.real(2)))


def _where(op: OpContext) -> None:
    """Coordinates of the true elements, one row each."""
    condition = op.raw(0)
    if op.tensor(0).dtype != "BOOL":
        condition = op.op("Cast", condition, to=onnx_ir.DataType.BOOL)
    op.emit_integers(op.op("Transpose", op.op("NonZero", condition), perm=[1, 0]))


def _right_shift(op: OpContext) -> None:
    if not op.tensor(0).dtype.startswith("UINT"):
        raise CannotRead("ONNX shifts unsigned integers only")
    op.emit_raw(op.op("BitShift", op.raw(0), op.raw(1), direction="RIGHT"))


OPS: dict[str, Lowering] = {
    "BITWISE_XOR": partial(_logical, "BitwiseXor"),
    "EQUAL": partial(_compare, "Equal"),
    "GREATER": partial(_compare, "Greater"),
    "GREATER_EQUAL": partial(_compare, "GreaterOrEqual"),
    "LESS": partial(_compare, "Less"),
    "LESS_EQUAL": partial(_compare, "LessOrEqual"),
    "LOGICAL_AND": partial(_logical, "And"),
    "LOGICAL_NOT": partial(_logical, "Not"),
    "LOGICAL_OR": partial(_logical, "Or"),
    "NOT_EQUAL": _not_equal,
    "RIGHT_SHIFT": _right_shift,
    "SELECT": _select,
    "SELECT_V2": _select_v2,
    "WHERE": _where,
}
