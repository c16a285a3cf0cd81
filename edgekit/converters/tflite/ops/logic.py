"""Comparisons, logic, and choosing by a condition."""

from __future__ import annotations

import numpy as np
import onnx_ir

from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering, int_attribute
from edgekit.converters.tflite.ops._build import compute, emit, options_of, scalar_like

_DIRECT = {
    "And": "LOGICAL_AND",
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
    "Not": "LOGICAL_NOT",
    "Or": "LOGICAL_OR",
    "Xor": "NOT_EQUAL",
}


def lower_direct(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Operators that TFLite has under another name; exclusive or is inequality."""
    builtin = _DIRECT[node.op_type]
    inputs = [ctx.input(node, index) for index in range(len(node.inputs))]
    compute(ctx, builtin, inputs, ctx.output(node), options_of(builtin))


def lower_is_nan(ctx: Lowering, node: onnx_ir.Node) -> None:
    """IsNaN: what differs from itself."""
    x = ctx.input(node, 0)
    compute(ctx, "NOT_EQUAL", [x, x], ctx.output(node), options_of("NOT_EQUAL"))


def lower_is_inf(ctx: Lowering, node: onnx_ir.Node) -> None:
    """IsInf, of either sign or both."""
    x, out = ctx.cast(ctx.input(node, 0), "float32", "wide"), ctx.output(node)
    positive = int_attribute(node, "detect_positive", 1)
    negative = int_attribute(node, "detect_negative", 1)
    if positive and negative:
        x = emit(ctx, "ABS", [x])
    elif negative:
        x = emit(ctx, "NEG", [x])
    if positive or negative:
        emit(ctx, "EQUAL", [x, scalar_like(ctx, x, float(np.inf), "infinity")], out)
    else:
        emit(ctx, "LESS", [emit(ctx, "ABS", [x]), scalar_like(ctx, x, 0, "zero")], out)


def lower_where(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Where."""
    inputs = [ctx.input(node, index) for index in range(3)]
    out = ctx.output(node)
    if out.dtype in ("float64", "uint64", "uint16"):
        raise CannotLower(f"Where of {out.dtype}", "cast its operands to float32 or int64")
    emit(ctx, "SELECT_V2", inputs, out)


LOWERINGS: dict[str, Lower] = {
    **dict.fromkeys(_DIRECT, lower_direct),
    "IsInf": lower_is_inf,
    "IsNaN": lower_is_nan,
    "Where": lower_where,
}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset(
    {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Where"}
)
"""Operators whose lowering is right for int8 tensors too."""
