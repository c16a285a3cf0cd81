"""Arithmetic on elements, with NumPy broadcasting."""

from __future__ import annotations

import onnx_ir

from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering, int_attribute
from edgekit.converters.tflite.ops._build import (
    broadcast,
    cast_into,
    compute,
    emit,
    options_of,
    scalar_like,
)
from edgekit.converters.tflite.ops.shape import forward

_DIRECT = {
    "Abs": "ABS",
    "Add": "ADD",
    "Ceil": "CEIL",
    "Cos": "COS",
    "Div": "DIV",
    "Exp": "EXP",
    "Floor": "FLOOR",
    "Log": "LOG",
    "Mul": "MUL",
    "Round": "ROUND",
    "Sign": "SIGN",
    "Sin": "SIN",
    "Sqrt": "SQRT",
    "Sub": "SUB",
}
_FOLDED = {"Max": "MAXIMUM", "Mean": "ADD", "Min": "MINIMUM", "Sum": "ADD"}


def lower_direct(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Operators that TFLite has under another name. ROUND is half to even, DIV truncates."""
    builtin = _DIRECT[node.op_type]
    inputs = [ctx.input(node, index) for index in range(len(node.inputs))]
    compute(ctx, builtin, inputs, ctx.output(node), options_of(builtin))


def lower_neg(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Neg; quantized, it is 0 - x, since the int8 NEG wraps where it should saturate."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if x.quantization is None:
        compute(ctx, "NEG", [x], out, options_of("NEG"))
    else:
        emit(ctx, "SUB", [scalar_like(ctx, x, 0, "zero"), x], out)


def lower_variadic(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Max, Min, Sum and Mean of any number of operands: a chain of binary operators."""
    builtin = _FOLDED[node.op_type]
    operands = [ctx.input(node, index) for index in range(len(node.inputs))]
    if len(operands) == 1:
        forward(ctx, node)
        return
    out, total = ctx.output(node), operands[0]
    scaled = node.op_type == "Mean"
    for position, operand in enumerate(operands[1:], 1):
        last = position == len(operands) - 1 and not scaled
        shape = broadcast(total.shape, operand.shape)
        target = out if last else ctx.like(out, shape, builtin.lower())
        total = compute(ctx, builtin, [total, operand], target, options_of(builtin))
    if scaled:
        emit(ctx, "MUL", [total, scalar_like(ctx, total, 1 / len(operands), "count")], out)


def lower_pow(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Pow; squares and roots by constant exponents use their own operators."""
    base, exponent, out = ctx.input(node, 0), ctx.input(node, 1), ctx.output(node)
    if exponent.data is not None and exponent.data.size == 1 and base.shape == out.shape:
        special = {2.0: "SQUARE", 0.5: "SQRT"}.get(float(exponent.data.reshape(())))
        if base.dtype == "float32" and base.quantization is None and special:
            emit(ctx, special, [base], out)
            return
    compute(ctx, "POW", [base, ctx.cast(exponent, base.dtype, "exponent")], out, options_of("POW"))


def lower_mod(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Mod: FLOOR_MOD has the sign of the divisor; with fmod=1 the sign is the dividend's."""
    x, y, out = ctx.input(node, 0), ctx.input(node, 1), ctx.output(node)
    if not int_attribute(node, "fmod", 0):
        compute(ctx, "FLOOR_MOD", [x, y], out, options_of("FLOOR_MOD"))
        return
    shape, kind = broadcast(x.shape, y.shape), "float32" if x.dtype == "float16" else x.dtype
    if kind not in ("float32", "int32", "int64"):
        x, y, kind = ctx.cast(x, "int32", "wide"), ctx.cast(y, "int32", "wide"), "int32"
    magnitudes = [
        compute(ctx, "ABS", [t], ctx.temporary(kind, t.shape, "abs"), options_of("ABS"))
        for t in (ctx.cast(x, kind, "wide"), ctx.cast(y, kind, "wide"))
    ]
    rest = emit(ctx, "FLOOR_MOD", magnitudes)
    zero = scalar_like(ctx, rest, 0, "zero")
    negative = emit(ctx, "LESS", [ctx.cast(x, kind, "wide"), zero], dtype="bool")
    signed = ctx.temporary(kind, shape, "signed")
    target = out if out.dtype == kind else signed
    emit(ctx, "SELECT_V2", [negative, emit(ctx, "NEG", [rest]), rest], target)
    if target is signed:
        cast_into(ctx, signed, out)


def lower_reciprocal(ctx: Lowering, node: onnx_ir.Node) -> None:
    """1 / x."""
    x = ctx.input(node, 0)
    if x.quantization is not None:
        raise CannotLower("a quantized Reciprocal", "keep this node in float")
    compute(ctx, "DIV", [scalar_like(ctx, x, 1, "one"), x], ctx.output(node), options_of("DIV"))


LOWERINGS: dict[str, Lower] = {
    **dict.fromkeys(_DIRECT, lower_direct),
    **dict.fromkeys(_FOLDED, lower_variadic),
    "Mod": lower_mod,
    "Neg": lower_neg,
    "Pow": lower_pow,
    "Reciprocal": lower_reciprocal,
}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset(
    {"Abs", "Add", "Exp", "Log", "Max", "Min", "Mul", "Neg", "Sqrt", "Sub"}
)
"""Operators whose lowering is right for int8 tensors too.

Div is not: the int8 kernel of LiteRT shifts by more than 31 bits where the numerator is small and
the denominator is large, and saturates instead of giving zero.
"""
