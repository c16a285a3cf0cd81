"""Activation functions."""

from __future__ import annotations

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Quantization, Tensor
from edgekit.converters.tflite.lowering import (
    CannotLower,
    Lower,
    Lowering,
    float_attribute,
    string_attribute,
)
from edgekit.converters.tflite.ops._build import absent, compute, emit, options_of, scalar_like
from edgekit.converters.tflite.ops._erf import erf
from edgekit.converters.tflite.ops.shape import forward

_DIRECT = {"HardSwish": "HARD_SWISH", "Sigmoid": "LOGISTIC", "Tanh": "TANH"}
_CLIPS = {
    (0.0, 6.0): "RELU6",
    (-1.0, 1.0): "RELU_N1_TO_1",
    (0.0, 1.0): "RELU_0_TO_1",
    (0.0, np.inf): "RELU",
}
_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def _float(ctx: Lowering, node: onnx_ir.Node) -> Tensor:
    """The operand of a formula that is only right in float."""
    x = ctx.input(node, 0)
    if x.dtype != "float32":
        raise CannotLower(f"{node.op_type} of {x.dtype}", "keep this node in float32")
    return x


def lower_direct(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Activations that TFLite has under another name."""
    builtin = _DIRECT[node.op_type]
    compute(ctx, builtin, [ctx.input(node, 0)], ctx.output(node), options_of(builtin))


def lower_relu(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Relu; integers take a MAXIMUM."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if x.dtype == "float32" or x.quantization is not None:
        ctx.add("RELU", [x], out)
    else:
        compute(ctx, "MAXIMUM", [x, scalar_like(ctx, x, 0, "zero")], out, options_of("MAXIMUM"))


def lower_clip(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Clip: one of TFLite's fixed ranges, else MAXIMUM and MINIMUM."""
    x, out = ctx.input(node, 0), ctx.output(node)
    low, high = _bound(ctx, node, 1), _bound(ctx, node, 2)
    if x.dtype == "float32" or x.quantization is not None:
        builtin = _CLIPS.get((_value(low, -np.inf), _value(high, np.inf)))
        if builtin is not None:
            ctx.add(builtin, [x], out)
            return
    steps = [("MAXIMUM", low), ("MINIMUM", high)]
    limits = [(builtin, bound) for builtin, bound in steps if _limits(bound)]
    if not limits:
        forward(ctx, node)
    for position, (builtin, bound) in enumerate(limits):
        if bound is None:
            continue
        limit = bound
        if x.quantization is not None:
            limit = scalar_like(ctx, x, _value(bound, 0.0), builtin.lower() + "/bound")
        target = out if position == len(limits) - 1 else ctx.like(x, x.shape, "clipped")
        x = compute(ctx, builtin, [x, limit], target, options_of(builtin))


def _bound(ctx: Lowering, node: onnx_ir.Node, index: int) -> Tensor | None:
    return None if absent(node, index) else ctx.input(node, index)


def _value(bound: Tensor | None, missing: float) -> float:
    if bound is None:
        return missing
    if bound.data is None:
        return float("nan")
    return float(np.asarray(bound.data, np.float64).reshape(()))


def _limits(bound: Tensor | None) -> bool:
    return bound is not None and not np.isinf(_value(bound, np.inf))


def lower_leaky_relu(ctx: Lowering, node: onnx_ir.Node) -> None:
    """LeakyRelu."""
    options = schema.LeakyReluOptionsT(alpha=float_attribute(node, "alpha", 0.01))
    compute(ctx, "LEAKY_RELU", [ctx.input(node, 0)], ctx.output(node), options)


def lower_prelu(ctx: Lowering, node: onnx_ir.Node) -> None:
    """PRelu: the slope broadcasts to the input, never the other way."""
    x, slope, out = ctx.input(node, 0), ctx.input(node, 1), ctx.output(node)
    if x.dtype != "float32" and x.quantization is None:
        raise CannotLower(f"PRelu of {x.dtype}", "cast its input to float32")
    ctx.add("PRELU", [x, slope], out)


def lower_elu(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Elu, Celu and Selu: scaled pieces around TFLite's ELU, whose alpha is 1."""
    if node.op_type == "Selu":
        alpha = float_attribute(node, "alpha", _SELU_ALPHA)
        gamma, inner = float_attribute(node, "gamma", _SELU_GAMMA), 1.0
    else:
        alpha, gamma = float_attribute(node, "alpha", 1.0), 1.0
        inner = alpha if node.op_type == "Celu" else 1.0
    x, out = ctx.input(node, 0), ctx.output(node)
    if alpha == gamma == inner == 1.0:
        compute(ctx, "ELU", [x], out)
        return
    x = _float(ctx, node)
    scaled = x if inner == 1.0 else emit(ctx, "MUL", [x, scalar_like(ctx, x, 1 / inner, "slope")])
    negative = emit(ctx, "ELU", [emit(ctx, "MINIMUM", [scaled, scalar_like(ctx, x, 0, "zero")])])
    negative = emit(ctx, "MUL", [negative, scalar_like(ctx, x, alpha * gamma, "alpha")])
    positive = emit(ctx, "RELU", [x])
    if gamma != 1.0:
        positive = emit(ctx, "MUL", [positive, scalar_like(ctx, x, gamma, "gamma")])
    emit(ctx, "ADD", [positive, negative], out)


def lower_thresholded_relu(ctx: Lowering, node: onnx_ir.Node) -> None:
    """ThresholdedRelu: x where x > alpha, else 0."""
    x = _float(ctx, node)
    alpha = scalar_like(ctx, x, float_attribute(node, "alpha", 1.0), "alpha")
    above = emit(ctx, "GREATER", [x, alpha], dtype="bool")
    emit(ctx, "SELECT_V2", [above, x, scalar_like(ctx, x, 0, "zero")], ctx.output(node))


def lower_hard_sigmoid(ctx: Lowering, node: onnx_ir.Node) -> None:
    """max(0, min(1, alpha x + beta))."""
    if ctx.input(node, 0).quantization is not None:
        _hard_sigmoid_int8(ctx, node)
        return
    x = _float(ctx, node)
    slope = scalar_like(ctx, x, float_attribute(node, "alpha", 0.2), "alpha")
    shift = scalar_like(ctx, x, float_attribute(node, "beta", 0.5), "beta")
    line = emit(ctx, "ADD", [emit(ctx, "MUL", [x, slope]), shift])
    emit(ctx, "RELU_0_TO_1", [line], ctx.output(node))


def _hard_sigmoid_int8(ctx: Lowering, node: onnx_ir.Node) -> None:
    """The same as alpha (x + beta / alpha), whose sum saturates where the result is 0 and 1."""
    x, out = ctx.input(node, 0), ctx.output(node)
    alpha, beta = float_attribute(node, "alpha", 0.2), float_attribute(node, "beta", 0.5)
    if alpha <= 0:
        raise CannotLower(f"HardSigmoid of {x.dtype} with alpha {alpha:g}", "leave it in float")
    top, shift = 1 / alpha, beta / alpha
    # A shift far below a step of the sum is stored coarsely: kernels bound ratios of scales.
    step = max(abs(shift), top / 1000) / 127
    offset = ctx.constant(np.array([round(shift / step)], np.int8), "shift", _quantization(step, 0))
    slope = ctx.constant(np.array([127], np.int8), "alpha", _quantization(alpha / 127, 0))
    line = ctx.temporary("int8", x.shape, "line", _quantization(top / 255, -128))
    emit(ctx, "MUL", [emit(ctx, "ADD", [x, offset], line), slope], out)


def _quantization(scale: float, zero_point: int) -> Quantization:
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))


def lower_gelu(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Gelu by erf or tanh, as TFLite's GELU has both."""
    approximate = string_attribute(node, "approximate", "none") == "tanh"
    x = ctx.input(node, 0)
    compute(ctx, "GELU", [x], ctx.output(node), schema.GeluOptionsT(approximate=approximate))


def lower_softplus(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Softplus: max(x, 0) + log(1 + exp(-|x|)), which neither overflows nor loses large x."""
    x = _float(ctx, node)
    decay = emit(ctx, "EXP", [emit(ctx, "NEG", [emit(ctx, "ABS", [x])])])
    tail = emit(ctx, "LOG", [emit(ctx, "ADD", [decay, scalar_like(ctx, x, 1, "one")])])
    emit(ctx, "ADD", [emit(ctx, "RELU", [x]), tail], ctx.output(node))


def lower_mish(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Mish: x * tanh(softplus(x)) = x * n / (n + 2) with e = exp(x), n = e (e + 2).

    The quotient is 1 in float32 long before x = 20, where e stops growing.
    """
    x = _float(ctx, node)
    two = scalar_like(ctx, x, 2, "two")
    e = emit(ctx, "EXP", [emit(ctx, "MINIMUM", [x, scalar_like(ctx, x, 20, "limit")])])
    n = emit(ctx, "MUL", [e, emit(ctx, "ADD", [e, two])])
    gate = emit(ctx, "DIV", [n, emit(ctx, "ADD", [n, two])])
    emit(ctx, "MUL", [x, gate], ctx.output(node))


def lower_softsign(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Softsign: x / (1 + |x|)."""
    x = _float(ctx, node)
    divisor = emit(ctx, "ADD", [emit(ctx, "ABS", [x]), scalar_like(ctx, x, 1, "one")])
    emit(ctx, "DIV", [x, divisor], ctx.output(node))


def lower_shrink(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Shrink: x moved towards zero by the bias where |x| is above lambd, else 0."""
    x = _float(ctx, node)
    limit, bias = float_attribute(node, "lambd", 0.5), float_attribute(node, "bias", 0.0)
    zero, shift = scalar_like(ctx, x, 0, "zero"), scalar_like(ctx, x, bias, "bias")
    above = emit(ctx, "GREATER", [x, scalar_like(ctx, x, limit, "lambd")], dtype="bool")
    below = emit(ctx, "LESS", [x, scalar_like(ctx, x, -limit, "lambd")], dtype="bool")
    left = emit(ctx, "SELECT_V2", [below, emit(ctx, "ADD", [x, shift]), zero], dtype="float32")
    emit(ctx, "SELECT_V2", [above, emit(ctx, "SUB", [x, shift]), left], ctx.output(node))


def lower_erf(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Erf, by an approximation."""
    erf(ctx, _float(ctx, node), ctx.output(node))


LOWERINGS: dict[str, Lower] = {
    **dict.fromkeys(_DIRECT, lower_direct),
    **dict.fromkeys(("Celu", "Elu", "Selu"), lower_elu),
    "Clip": lower_clip,
    "Erf": lower_erf,
    "Gelu": lower_gelu,
    "HardSigmoid": lower_hard_sigmoid,
    "LeakyRelu": lower_leaky_relu,
    "Mish": lower_mish,
    "PRelu": lower_prelu,
    "Relu": lower_relu,
    "Shrink": lower_shrink,
    "Softplus": lower_softplus,
    "Softsign": lower_softsign,
    "ThresholdedRelu": lower_thresholded_relu,
}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset(
    {"Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish"}
    | {"LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh"}
)
"""Operators whose lowering is right for int8 tensors too."""
