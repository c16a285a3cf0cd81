"""A recurrent node as data, and its activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgekit.converters.tflite.graph import Shape, Tensor
from edgekit.converters.tflite.lowering import CannotLower, Lowering
from edgekit.converters.tflite.ops._build import emit as element_wise

Activate = Callable[[Lowering, Tensor], Tensor]
"""Applies an activation function."""

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""How many gates a cell has, by operator."""

_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


@dataclass(frozen=True)
class Direction:
    """The weights of one direction, and where it starts.

    Attributes:
        backward: whether it reads the sequence from its end.
        w: input weights, (gates * units, inputs), gates in ONNX order.
        r: recurrent weights, (gates * units, units).
        input_bias: (gates * units,).
        recurrent_bias: (gates * units,).
        peephole: (3 * units,) for the gates i, o, f; None without.
        hidden: initial hidden state, (batch, units); None for zeros.
        cell: initial cell state likewise.
        activations: of the gates, of the cell's input, of the cell's output.
        default_activations: whether these are ONNX's default ones.
    """

    backward: bool
    w: NDArray[Any]
    r: NDArray[Any]
    input_bias: NDArray[Any]
    recurrent_bias: NDArray[Any]
    peephole: NDArray[Any] | None
    hidden: Tensor | None
    cell: Tensor | None
    activations: tuple[Activate, ...]
    default_activations: bool


@dataclass
class Recurrence:
    """One recurrent node.

    Attributes:
        op: LSTM, GRU or RNN.
        x: the sequence, (time, batch, inputs) or (batch, time, inputs).
        time: which axis of it is time.
        steps: its length.
        batch: its batch size; None when dynamic.
        units: size of the hidden state.
        clip: bound on what enters an activation; 0 for none.
        coupled: LSTM: whether the forget gate is one minus the input gate.
        linear_before_reset: GRU: whether the reset gate comes after the recurrent product.
        keeps_sequence: whether the hidden states of all steps are read.
        keeps_hidden: whether the last hidden state is read.
        keeps_cell: whether the last cell state is read.
        directions: one, or forward and backward.
    """

    op: str
    x: Tensor
    time: int
    steps: int
    batch: int | None
    units: int
    clip: float
    coupled: bool
    linear_before_reset: bool
    keeps_sequence: bool
    keeps_hidden: bool
    keeps_cell: bool
    directions: list[Direction] = field(default_factory=list)

    @property
    def state_shape(self) -> Shape:
        """Shape of a state."""
        return (self.batch, self.units)


@dataclass(frozen=True)
class Results:
    """What one direction gives.

    Attributes:
        sequence: hidden states of all steps, time and batch as in the input; None if not asked.
        hidden: the last hidden state, (batch, units); None if not asked.
        cell: the last cell state; None if not asked, or if there is none.
    """

    sequence: Tensor | None
    hidden: Tensor | None
    cell: Tensor | None


def scalar(ctx: Lowering, value: float, hint: str) -> Tensor:
    """A float constant that broadcasts."""
    return ctx.constant(np.array(value, np.float32), hint)


def emit(ctx: Lowering, builtin: str, *inputs: Tensor, options: Any = None) -> Tensor:
    """An element-wise operator."""
    return element_wise(ctx, builtin, inputs, options=options)


def clipped(ctx: Lowering, x: Tensor, bound: float) -> Tensor:
    """Keep a tensor within [-bound, bound]; untouched where the bound is 0."""
    if not bound:
        return x
    low = emit(ctx, "MAXIMUM", x, scalar(ctx, -bound, "low"))
    return emit(ctx, "MINIMUM", low, scalar(ctx, bound, "high"))


def activations_of(node: onnx_ir.Node, directions: int) -> list[tuple[Activate, ...]]:
    """The activation functions of each direction.

    Raises:
        CannotLower: if one is unknown, or their number is wrong.
    """
    default = _DEFAULTS[node.op_type]
    given = node.attributes.get("activations")
    names = list(given.as_strings()) if given is not None else list(default) * directions
    if len(names) != len(default) * directions:
        raise CannotLower(f"it has {len(names)} activations")
    alphas, betas = _parameters(node, "activation_alpha"), _parameters(node, "activation_beta")
    functions = []
    for name in names:
        if name not in _ACTIVATIONS:
            raise CannotLower(f"its activation {name} is unknown")
        make, alpha, beta = _ACTIVATIONS[name]
        # ONNX lists parameters only for the functions that have them.
        a = (alphas.pop(0) if alphas else alpha) if alpha is not None else 0.0
        b = (betas.pop(0) if betas else beta) if beta is not None else 0.0
        functions.append(make(a, b))
    size = len(default)
    return [tuple(functions[i * size : (i + 1) * size]) for i in range(directions)]


def _parameters(node: onnx_ir.Node, name: str) -> list[float]:
    attribute = node.attributes.get(name)
    return [] if attribute is None else list(attribute.as_floats())


def _plain(builtin: str) -> Callable[[float, float], Activate]:
    return lambda alpha, beta: lambda ctx, x: emit(ctx, builtin, x)


def _line(ctx: Lowering, x: Tensor, slope: float, shift: float) -> Tensor:
    scaled = emit(ctx, "MUL", x, scalar(ctx, slope, "alpha"))
    return emit(ctx, "ADD", scaled, scalar(ctx, shift, "beta"))


def _affine(alpha: float, beta: float) -> Activate:
    return lambda ctx, x: _line(ctx, x, alpha, beta)


def _hard_sigmoid(alpha: float, beta: float) -> Activate:
    return lambda ctx, x: emit(ctx, "RELU_0_TO_1", _line(ctx, x, alpha, beta))


def _scaled_tanh(alpha: float, beta: float) -> Activate:
    def activate(ctx: Lowering, x: Tensor) -> Tensor:
        inner = emit(ctx, "TANH", emit(ctx, "MUL", x, scalar(ctx, beta, "beta")))
        return emit(ctx, "MUL", inner, scalar(ctx, alpha, "alpha"))

    return activate


def _leaky_relu(alpha: float, beta: float) -> Activate:
    del beta
    options = schema.LeakyReluOptionsT(alpha=alpha)
    return lambda ctx, x: emit(ctx, "LEAKY_RELU", x, options=options)


def _softsign(alpha: float, beta: float) -> Activate:
    del alpha, beta

    def activate(ctx: Lowering, x: Tensor) -> Tensor:
        below = emit(ctx, "ADD", emit(ctx, "ABS", x), scalar(ctx, 1.0, "one"))
        return emit(ctx, "DIV", x, below)

    return activate


def _softplus(alpha: float, beta: float) -> Activate:
    """max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    del alpha, beta

    def activate(ctx: Lowering, x: Tensor) -> Tensor:
        decay = emit(ctx, "EXP", emit(ctx, "NEG", emit(ctx, "ABS", x)))
        tail = emit(ctx, "LOG", emit(ctx, "ADD", decay, scalar(ctx, 1.0, "one")))
        return emit(ctx, "ADD", emit(ctx, "RELU", x), tail)

    return activate


_Maker = Callable[[float, float], Activate]

_ACTIVATIONS: Mapping[str, tuple[_Maker, float | None, float | None]] = {
    "Affine": (_affine, 1.0, 0.0),
    "HardSigmoid": (_hard_sigmoid, 0.2, 0.5),
    "LeakyRelu": (_leaky_relu, 0.01, None),
    "Relu": (_plain("RELU"), None, None),
    "ScaledTanh": (_scaled_tanh, 1.0, 1.0),
    "Sigmoid": (_plain("LOGISTIC"), None, None),
    "Softplus": (_softplus, None, None),
    "Softsign": (_softsign, None, None),
    "Tanh": (_plain("TANH"), None, None),
}
"""Name → how to make it, default alpha, default beta; None where it has no such parameter."""
