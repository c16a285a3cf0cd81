"""The error function, which TFLite has no operator for."""

from __future__ import annotations

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import Lowering
from edgekit.converters.tflite.ops._build import emit, scalar_like

_P = 0.3275911
_A = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)


def erf(ctx: Lowering, x: Tensor, out: Tensor | None = None) -> Tensor:
    """The error function of a float32 tensor, within 5e-7 in absolute terms.

    Source: M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions, 7.1.26:
    erf(x) = 1 - (a1 t + ... + a5 t^5) exp(-x^2) with t = 1 / (1 + p x), x >= 0, whose own error is
    at most 1.5e-7.

    Args:
        ctx: the conversion.
        x: float32, any shape.
        out: where the result goes; default: a temporary.
    """

    def constant(value: float) -> Tensor:
        return scalar_like(ctx, x, value, "erf")

    one = constant(1.0)
    line = emit(ctx, "ADD", [emit(ctx, "MUL", [emit(ctx, "ABS", [x]), constant(_P)]), one])
    t = emit(ctx, "DIV", [one, line])
    series = emit(ctx, "MUL", [t, constant(_A[0])])
    for coefficient in _A[1:]:
        series = emit(ctx, "MUL", [emit(ctx, "ADD", [series, constant(coefficient)]), t])
    bell = emit(ctx, "EXP", [emit(ctx, "NEG", [emit(ctx, "SQUARE", [x])])])
    size = emit(ctx, "SUB", [one, emit(ctx, "MUL", [series, bell])])
    return emit(ctx, "MUL", [emit(ctx, "SIGN", [x]), size], out)
