"""Activations and normalizations along the channels."""

from __future__ import annotations

from functools import partial

from edgekit.frontends.tflite.lowering import Lowering, OpContext

_RELU, _RELU_N1_TO_1, _RELU6 = 1, 2, 3


def _unary(kind: str, op: OpContext) -> None:
    op.emit(op.op(kind, op.real(0)))


def _bounded(activation: int, op: OpContext) -> None:
    op.emit(op.real(0), activation)


def _relu_0_to_1(op: OpContext) -> None:
    op.emit(op.op("Clip", op.real(0), op.number(0.0), op.number(1.0)))


def _leaky_relu(op: OpContext) -> None:
    alpha = float(op.options("LeakyReluOptions").alpha)
    op.emit(op.op("LeakyRelu", op.real(0), alpha=alpha))


def _prelu(op: OpContext) -> None:
    op.emit(op.op("PRelu", op.real(0), op.real(1)))


def _gelu(op: OpContext) -> None:
    form = "tanh" if op.options("GeluOptions").approximate else "none"
    op.emit(op.op("Gelu", op.real(0), approximate=form))


def _softmax(op: OpContext) -> None:
    beta = float(op.options("SoftmaxOptions").beta)
    x = op.real(0)
    if beta != 1.0:
        x = op.op("Mul", x, op.number(beta))
    op.emit(op.op("Softmax", x, axis=-1))


def _log_softmax(op: OpContext) -> None:
    op.emit(op.op("LogSoftmax", op.real(0), axis=-1))


def _l2_normalization(op: OpContext) -> None:
    activation = op.options("L2NormOptions").fusedActivationFunction
    op.emit(op.op("LpNormalization", op.real(0), axis=-1, p=2), activation)


def _local_response_normalization(op: OpContext) -> None:
    """ONNX divides alpha by the window's size; TFLite does not."""
    options = op.options("LocalResponseNormalizationOptions")
    size = 2 * int(options.radius) + 1
    y = op.op(
        "LRN",
        op.channels_first(op.real(0)),
        alpha=float(options.alpha) * size,
        beta=float(options.beta),
        bias=float(options.bias),
        size=size,
    )
    op.emit(op.channels_last(y))


OPS: dict[str, Lowering] = {
    "ELU": partial(_unary, "Elu"),
    "GELU": _gelu,
    "HARD_SWISH": partial(_unary, "HardSwish"),
    "L2_NORMALIZATION": _l2_normalization,
    "LEAKY_RELU": _leaky_relu,
    "LOCAL_RESPONSE_NORMALIZATION": _local_response_normalization,
    "LOGISTIC": partial(_unary, "Sigmoid"),
    "LOG_SOFTMAX": _log_softmax,
    "PRELU": _prelu,
    "RELU": partial(_bounded, _RELU),
    "RELU6": partial(_bounded, _RELU6),
    "RELU_0_TO_1": _relu_0_to_1,
    "RELU_N1_TO_1": partial(_bounded, _RELU_N1_TO_1),
    "SOFTMAX": _softmax,
    "TANH": partial(_unary, "Tanh"),
}
