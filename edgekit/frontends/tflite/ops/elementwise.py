"""Arithmetic element by element: operators whose result has the broadcast shape of its operands."""

from __future__ import annotations

from functools import partial

import onnx_ir

from edgekit.frontends.tflite.lowering import Lowering, OpContext


def _unary(kind: str, op: OpContext) -> None:
    op.emit(op.op(kind, op.real(0)))


def _binary(kind: str, options: str, op: OpContext) -> None:
    activation = op.options(options).fusedActivationFunction if options else 0
    op.emit(op.op(kind, op.real(0), op.real(1)), activation)


def _rsqrt(op: OpContext) -> None:
    op.emit(op.op("Reciprocal", op.op("Sqrt", op.real(0))))


def _square(op: OpContext) -> None:
    x = op.real(0)
    op.emit(op.op("Mul", x, x))


def _squared_difference(op: OpContext) -> None:
    difference = op.op("Sub", op.real(0), op.real(1))
    op.emit(op.op("Mul", difference, difference))


def _floor_div(op: OpContext) -> None:
    x, y = op.real(0), op.real(1)
    if op.compute_type().kind == "f":
        op.emit(op.op("Floor", op.op("Div", x, y)))
        return
    # ONNX division of integers truncates; taking the floored remainder off first makes it exact.
    op.emit(op.op("Div", op.op("Sub", x, op.op("Mod", x, y)), y))


def _floor_mod(op: OpContext) -> None:
    x, y = op.real(0), op.real(1)
    if op.compute_type().kind == "f":
        whole = op.op("Mul", op.op("Floor", op.op("Div", x, y)), y)
        op.emit(op.op("Sub", x, whole))
        return
    op.emit(op.op("Mod", x, y))


def _add_n(op: OpContext) -> None:
    total = op.real(0)
    for position in range(1, op.input_count):
        total = op.op("Add", total, op.real(position))
    op.emit(total if op.input_count > 1 else op.op("Identity", total))


def _sign(op: OpContext) -> None:
    op.emit(op.op("Sign", op.real(0)))


def _cast(op: OpContext) -> None:
    to = onnx_ir.DataType.from_numpy(op.compute_type_of(op.result()))
    if op.compute_type().kind == "f" and to == onnx_ir.DataType.BOOL:
        op.emit_raw(op.op("Not", op.op("Equal", op.raw(0), op.number(0.0))))
        return
    op.emit_raw(op.op("Cast", op.raw(0), to=to))


def _atan2(op: OpContext) -> None:
    """Quadrants by the signs: atan(y/x), moved by pi where x is negative, pi/2 on the y axis."""
    y, x = op.real(0), op.real(1)
    zero = op.number(0.0)
    negative_y = op.op("Less", y, zero)
    half_turn = op.op("Where", negative_y, op.number(-3.141592653589793), op.number(_PI))
    inner = op.op("Atan", op.op("Div", y, x))
    turned = op.op("Where", op.op("Less", x, zero), op.op("Add", inner, half_turn), inner)
    quarter = op.op("Mul", op.op("Sign", y), op.number(_PI / 2))
    op.emit(op.op("Where", op.op("Equal", x, zero), quarter, turned))


_PI = 3.141592653589793

OPS: dict[str, Lowering] = {
    "ABS": partial(_unary, "Abs"),
    "ADD": partial(_binary, "Add", "AddOptions"),
    "ADD_N": _add_n,
    "ATAN2": _atan2,
    "CAST": _cast,
    "CEIL": partial(_unary, "Ceil"),
    "COS": partial(_unary, "Cos"),
    "DIV": partial(_binary, "Div", "DivOptions"),
    "EXP": partial(_unary, "Exp"),
    "FLOOR": partial(_unary, "Floor"),
    "FLOOR_DIV": _floor_div,
    "FLOOR_MOD": _floor_mod,
    "LOG": partial(_unary, "Log"),
    "MAXIMUM": partial(_binary, "Max", ""),
    "MINIMUM": partial(_binary, "Min", ""),
    "MUL": partial(_binary, "Mul", "MulOptions"),
    "NEG": partial(_unary, "Neg"),
    "POW": partial(_binary, "Pow", ""),
    "ROUND": partial(_unary, "Round"),
    "RSQRT": _rsqrt,
    "SIGN": _sign,
    "SIN": partial(_unary, "Sin"),
    "SQRT": partial(_unary, "Sqrt"),
    "SQUARE": _square,
    "SQUARED_DIFFERENCE": _squared_difference,
    "SUB": partial(_binary, "Sub", "SubOptions"),
}
