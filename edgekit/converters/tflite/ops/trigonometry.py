"""Trigonometric and hyperbolic functions, out of SIN, COS, ATAN2, EXP and LOG.

Absolute errors stay within a few units in the last place of the larger of 1 and the result.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering
from edgekit.converters.tflite.ops._build import emit, scalar_like


def _tan(ctx: Lowering, x: Tensor, out: Tensor) -> None:
    emit(ctx, "DIV", [emit(ctx, "SIN", [x]), emit(ctx, "COS", [x])], out)


def _complement(ctx: Lowering, x: Tensor) -> Tensor:
    """sqrt(1 - x^2), without the cancellation of squaring first."""
    one = scalar_like(ctx, x, 1, "one")
    product = emit(ctx, "MUL", [emit(ctx, "SUB", [one, x]), emit(ctx, "ADD", [x, one])])
    return emit(ctx, "SQRT", [product])


def _asin(ctx: Lowering, x: Tensor, out: Tensor) -> None:
    emit(ctx, "ATAN2", [x, _complement(ctx, x)], out)


def _acos(ctx: Lowering, x: Tensor, out: Tensor) -> None:
    emit(ctx, "ATAN2", [_complement(ctx, x), x], out)


def _atan(ctx: Lowering, x: Tensor, out: Tensor) -> None:
    # ATAN2 does not broadcast: a tensor of ones in the shape of x, infinities included.
    above = emit(ctx, "ADD", [emit(ctx, "ABS", [x]), scalar_like(ctx, x, 1, "one")])
    emit(ctx, "ATAN2", [x, emit(ctx, "RELU_0_TO_1", [above])], out)


def _sinh(ctx: Lowering, x: Tensor, out: Tensor) -> None:
    """sign(x) * (1 - exp(-|x|)) * (exp(|x|) + 1) / 2; ELU gives the first factor exactly."""
    size = emit(ctx, "ABS", [x])
    small = emit(ctx, "NEG", [emit(ctx, "ELU", [emit(ctx, "NEG", [size])])])
    large = emit(ctx, "ADD", [emit(ctx, "EXP", [size]), scalar_like(ctx, x, 1, "one")])
    half = emit(ctx, "MUL", [large, scalar_like(ctx, x, 0.5, "half")])
    emit(ctx, "MUL", [emit(ctx, "SIGN", [x]), emit(ctx, "MUL", [small, half])], out)


def _cosh(ctx: Lowering, x: Tensor, out: Tensor) -> None:
    both = [emit(ctx, "EXP", [x]), emit(ctx, "EXP", [emit(ctx, "NEG", [x])])]
    emit(ctx, "MUL", [emit(ctx, "ADD", both), scalar_like(ctx, x, 0.5, "half")], out)


def _asinh(ctx: Lowering, x: Tensor, out: Tensor) -> None:
    size, one = emit(ctx, "ABS", [x]), scalar_like(ctx, x, 1, "one")
    root = emit(ctx, "SQRT", [emit(ctx, "ADD", [emit(ctx, "SQUARE", [x]), one])])
    log = emit(ctx, "LOG", [emit(ctx, "ADD", [size, root])])
    emit(ctx, "MUL", [emit(ctx, "SIGN", [x]), log], out)


def _acosh(ctx: Lowering, x: Tensor, out: Tensor) -> None:
    one = scalar_like(ctx, x, 1, "one")
    roots = [emit(ctx, "SQRT", [emit(ctx, builtin, [x, one])]) for builtin in ("SUB", "ADD")]
    emit(ctx, "LOG", [emit(ctx, "ADD", [x, emit(ctx, "MUL", roots)])], out)


def _atanh(ctx: Lowering, x: Tensor, out: Tensor) -> None:
    one = scalar_like(ctx, x, 1, "one")
    ratio = emit(ctx, "DIV", [emit(ctx, "ADD", [x, one]), emit(ctx, "SUB", [one, x])])
    emit(ctx, "MUL", [emit(ctx, "LOG", [ratio]), scalar_like(ctx, x, 0.5, "half")], out)


_FORMULAS: dict[str, Callable[[Lowering, Tensor, Tensor], None]] = {
    "Acos": _acos,
    "Acosh": _acosh,
    "Asin": _asin,
    "Asinh": _asinh,
    "Atan": _atan,
    "Atanh": _atanh,
    "Cosh": _cosh,
    "Sinh": _sinh,
    "Tan": _tan,
}


def lower_formula(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Functions that TFLite has no operator for."""
    x = ctx.input(node, 0)
    if x.dtype != "float32":
        raise CannotLower(f"{node.op_type} of {x.dtype}", "keep this node in float32")
    _FORMULAS[node.op_type](ctx, x, ctx.output(node))


LOWERINGS: dict[str, Lower] = dict.fromkeys(_FORMULAS, lower_formula)
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset()
"""Operators whose lowering is right for int8 tensors too."""
