"""Recurrent layers, as the LSTM and RNN operators of ONNX.

Weights become float32 constants: ONNX wants the gates in one tensor, in the order input, output,
forget, cell. States start at zero, as in a freshly allocated interpreter; the interpreter itself
carries them over to its next invocation unless `reset_all_variables` is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.builder import Operand
from edgekit.frontends.tflite.lowering import CannotRead, Lowering, OpContext

_TANH = 4
_ACTIVATIONS = {1: "Relu", _TANH: "Tanh"}
_LEAST_CELL_CLIP = 10.0


@dataclass(frozen=True)
class _Direction:
    """Where one direction's operands are; -1 stands for an operand this form does not have.

    Attributes:
        weights: first of the four input weights (input, forget, cell, output gate).
        recurrent: first of the four recurrent weights.
        peephole: first of the three peephole weights (input, forget, output gate).
        bias: first of the four biases.
        projection: the projection's weights.
        norm: first of the four layer normalization coefficients.
    """

    weights: int
    recurrent: int
    peephole: int
    bias: int
    projection: int
    norm: int


_SINGLE = _Direction(1, 5, 9, 12, 16, 20)
_FORWARD = _Direction(1, 5, 9, 12, 16, -1)
_BACKWARD = _Direction(18, 22, 26, 29, 33, -1)
_AUXILIARY = range(39, 48)
_STATE_NOTE = (
    "the recurrent state starts at zero in each run; the TFLite interpreter keeps it from one "
    "invocation to the next until its variables are reset"
)


def _unidirectional_lstm(op: OpContext) -> None:
    options = op.options("UnidirectionalSequenceLSTMOptions")
    y = _lstm(op, [_SINGLE], options, _as_time_major(op, bool(options.timeMajor)))
    y = op.op("Squeeze", y, op.int64(1))
    op.emit(y if options.timeMajor else op.transpose(y, (1, 0, 2)))


def _lstm_step(op: OpContext) -> None:
    """The full kernel runs one step on a matrix; its cell state is a variable."""
    options = op.options("LSTMOptions")
    if options.kernelType:
        _basic_lstm(op)
        return
    x = op.op("Unsqueeze", op.real(0), op.int64(0))
    y = _lstm(op, [_SINGLE], options, x)
    op.emit(op.op("Squeeze", y, op.int64(0, 1)), position=op.output_count - 1)


def _bidirectional_lstm(op: OpContext) -> None:
    options = op.options("BidirectionalSequenceLSTMOptions")
    if any(op.has(i) for i in _AUXILIARY):
        raise CannotRead("it has an auxiliary input", "concatenate it to the input instead")
    x = _as_time_major(op, bool(options.timeMajor))
    y = _lstm(op, [_FORWARD, _BACKWARD], options, x)
    _emit_directions(op, y, options)


def _emit_directions(op: OpContext, y: onnx_ir.Value, options: Any) -> None:
    """`y` is (time, direction, batch, units); the directions are joined or come apart."""
    order = (0, 2) if options.timeMajor else (2, 0)
    if options.mergeOutputs:
        joined = op.op("Reshape", op.transpose(y, (*order, 1, 3)), op.int64(0, 0, -1))
        op.emit(joined)
        return
    halves = op.builder.node("Split", [y, op.int64(1, 1)], 2, axis=1)
    for position, half in enumerate(halves):
        part = op.op("Squeeze", half, op.int64(1))
        op.emit(part if options.timeMajor else op.transpose(part, (1, 0, 2)), position=position)


def _as_time_major(op: OpContext, already: bool) -> onnx_ir.Value:
    x = op.real(0)
    return x if already else op.transpose(x, (1, 0, 2))


def _lstm(
    op: OpContext, directions: list[_Direction], options: Any, x: onnx_ir.Value
) -> onnx_ir.Value:
    """The ONNX LSTM over x of (time, batch, features): (time, direction, batch, units)."""
    activation = _activation(options.fusedActivationFunction)
    if options.cellClip:
        _accept_cell_clip(op, float(options.cellClip))
    if getattr(options, "diagonalRecurrentTensors", False):
        raise CannotRead("its recurrent weights are diagonal")
    parts = [_direction(op, d) for d in directions]
    stacked = [np.stack(column).astype(np.float32) for column in zip(*parts, strict=True)]
    units = stacked[1].shape[-1]
    operands: list[Operand] = [x, *_named(op, stacked)]
    if any(op.has(d.peephole + 1) for d in directions):
        operands += [None, None, None, op.builder.constant(stacked[3])]
    op.note(_STATE_NOTE)
    return op.op(
        "LSTM",
        *operands,
        hidden_size=units,
        direction="forward" if len(directions) == 1 else "bidirectional",
        activations=["Sigmoid", activation, activation] * len(directions),
    )


def _named(op: OpContext, stacked: list[NDArray[Any]]) -> list[onnx_ir.Value]:
    names = (f"{op.builder.scope}/{letter}" for letter in "WRB")
    return [op.builder.constant(a, n) for a, n in zip(stacked[:3], names, strict=True)]


def _accept_cell_clip(op: OpContext, clip: float) -> None:
    """Clipping at 10 or more hardly shows: tanh(10) is 1 within 5e-9. ONNX cannot express it."""
    if clip < _LEAST_CELL_CLIP:
        raise CannotRead(f"it clips its cell state at {clip:g}, which ONNX cannot express")
    op.note(f"{op.operator.kind}: the clipping of the cell state at {clip:g} is left out")


def _direction(op: OpContext, d: _Direction) -> tuple[NDArray[Any], ...]:
    """W, R, B and P of one direction in ONNX's order of gates."""
    if op.has(d.projection):
        raise CannotRead("it has a projection layer", "export the layer unfused")
    if d.norm >= 0 and any(op.has(d.norm + i) for i in range(4)):
        raise CannotRead("it normalizes its gates", "export the layer unfused")
    w = _gates(op, d.weights, coupled=not op.has(d.weights))
    r = _gates(op, d.recurrent, coupled=not op.has(d.weights))
    units, features = w[0].shape if w[0].ndim == 2 else (0, 0)
    if any(a.shape != (units, features) for a in w) or any(a.shape != (units, units) for a in r):
        raise ModelFileError(f"{op.operator.kind} has weights of shapes that do not fit.")
    b = _gates(op, d.bias, coupled=not op.has(d.weights))
    bias = np.concatenate([*_iofc(b), np.zeros(4 * units)])
    return np.concatenate(_iofc(w)), np.concatenate(_iofc(r)), bias, _peepholes(op, d, units)


def _gates(op: OpContext, first: int, coupled: bool) -> list[NDArray[Any]]:
    """Operands of the input, forget, cell and output gate.

    Without an input gate TFLite uses 1 - forget; 1 - sigmoid(z) is sigmoid(-z), so the input
    gate becomes the forget gate negated.
    """
    rest = [op.real_constant(first + i) for i in (1, 2, 3)]
    return [-rest[0] if coupled else op.real_constant(first), *rest]


def _iofc(gates: list[NDArray[Any]]) -> list[NDArray[Any]]:
    i, f, c, o = gates
    return [i, o, f, c]


def _peepholes(op: OpContext, d: _Direction, units: int) -> NDArray[Any]:
    if not op.has(d.peephole + 1):
        return np.zeros(3 * units)
    forget, output = op.real_constant(d.peephole + 1), op.real_constant(d.peephole + 2)
    given = op.has(d.peephole) and op.has(d.weights)
    return np.concatenate([op.real_constant(d.peephole) if given else -forget, output, forget])


def _activation(number: int) -> str:
    name = _ACTIVATIONS.get(number)
    if name is None:
        raise CannotRead(f"its activation has the number {number}; only tanh and ReLU are read")
    return name


def _basic_lstm(op: OpContext) -> None:
    """Version 2: one product gives the input, new, forget and output gates of one step.

    Inputs are the data, the previous output, weights, biases and the previous state; outputs are
    the new output and the new state, then two buffers.
    """
    joined = op.op("Concat", op.real(0), op.real(1), axis=1)
    gates = op.op("Gemm", joined, op.weights(2, (0, 1)), op.weights(3, (0,)), transB=1)
    i, new, f, o = op.builder.node("Split", [gates], 4, axis=1, num_outputs=4)
    fresh = op.op("Mul", op.op("Sigmoid", i), op.op("Tanh", new))
    kept = op.op("Mul", op.op("Sigmoid", f), op.real(4))
    state = op.op("Add", fresh, kept)
    op.emit(op.op("Mul", op.op("Sigmoid", o), op.op("Tanh", state)))
    op.emit(state, position=1)


def _rnn_weights(op: OpContext, first: int) -> tuple[NDArray[Any], ...]:
    w, r, b = (op.real_constant(first + i) for i in range(3))
    if w.ndim != 2 or r.shape != (w.shape[0], w.shape[0]) or b.shape != (w.shape[0],):
        raise ModelFileError(f"{op.operator.kind} has weights of shapes that do not fit.")
    return w, r, np.concatenate([b, np.zeros_like(b)])


def _rnn(op: OpContext, firsts: list[int], activation: int, x: onnx_ir.Value) -> onnx_ir.Value:
    name = _activation(activation)
    parts = [_rnn_weights(op, first) for first in firsts]
    stacked = [np.stack(column).astype(np.float32) for column in zip(*parts, strict=True)]
    op.note(_STATE_NOTE)
    return op.op(
        "RNN",
        x,
        *_named(op, stacked),
        hidden_size=stacked[0].shape[1],
        direction="forward" if len(firsts) == 1 else "bidirectional",
        activations=[name] * len(firsts),
    )


def _unidirectional_rnn(op: OpContext) -> None:
    options = op.options("SequenceRNNOptions")
    x = _as_time_major(op, bool(options.timeMajor))
    y = op.op("Squeeze", _rnn(op, [1], options.fusedActivationFunction, x), op.int64(1))
    op.emit(y if options.timeMajor else op.transpose(y, (1, 0, 2)))


def _rnn_step(op: OpContext) -> None:
    options = op.options("RNNOptions")
    x = op.op("Unsqueeze", op.real(0), op.int64(0))
    y = _rnn(op, [1], options.fusedActivationFunction, x)
    op.emit(op.op("Squeeze", y, op.int64(0, 1)))


def _bidirectional_rnn(op: OpContext) -> None:
    options = op.options("BidirectionalSequenceRNNOptions")
    if any(op.has(i) for i in range(9, 12)):
        raise CannotRead("it has an auxiliary input", "concatenate it to the input instead")
    x = _as_time_major(op, bool(options.timeMajor))
    y = _rnn(op, [1, 5], options.fusedActivationFunction, x)
    _emit_directions(op, y, options)


OPS: dict[str, Lowering] = {
    "BIDIRECTIONAL_SEQUENCE_LSTM": _bidirectional_lstm,
    "BIDIRECTIONAL_SEQUENCE_RNN": _bidirectional_rnn,
    "LSTM": _lstm_step,
    "RNN": _rnn_step,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _unidirectional_lstm,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _unidirectional_rnn,
}
