"""LSTM as UNIDIRECTIONAL_SEQUENCE_LSTM, kept from remembering what ran before.

TFLite's operator keeps its states from one invocation to the next, while an ONNX LSTM starts from
zeros each time. So the sequence gets a step in front that closes all gates: one more input, which
is 1 in that step and 0 elsewhere, has large negative weights to the gates i, f and o. It leaves
both states at exactly 0, and its output is cut off.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import Lowering
from edgekit.converters.tflite.ops._recurrence import Direction, Recurrence, Results

_SHORTEST = 4
"""Steps from which on the operator is smaller than the unrolled cell."""

_TANH = 4
"""TANH in the schema's ActivationFunctionType."""

_CLOSED = 200.0
"""A gate whose input is below minus this is exactly 0 in float32: exp(-104) underflows."""


def suits_fused_lstm(layer: Recurrence) -> bool:
    """Whether TFLite's operator can stand for a node.

    The last cell state is not among the results of the operator, and a delegate that reads the
    variable does not see it.
    """
    return (
        layer.op == "LSTM"
        and layer.steps >= _SHORTEST
        and layer.batch is not None
        and not layer.keeps_cell
        and not layer.coupled
        and not layer.clip
        and all(
            direction.hidden is None and direction.cell is None and direction.default_activations
            for direction in layer.directions
        )
    )


def fused_lstm(ctx: Lowering, layer: Recurrence, direction: Direction) -> Results:
    """One direction of an LSTM that starts from zeros."""
    x = _reverse(ctx, layer, layer.x) if direction.backward else layer.x
    x = _with_reset_step(ctx, layer, direction, x)
    shape = list(x.shape)
    shape[2] = layer.units
    hidden = Tensor(_variable(ctx, "hidden"), "float32", layer.state_shape, variable=True)
    cell = Tensor(_variable(ctx, "cell"), "float32", layer.state_shape, variable=True)
    options = schema.UnidirectionalSequenceLSTMOptionsT(
        fusedActivationFunction=_TANH, timeMajor=layer.time == 0
    )
    operands = [x, *_weights(ctx, layer, direction), None, None, hidden, cell, *[None] * 4]
    out = ctx.temporary("float32", tuple(shape), "with_reset_step")
    ctx.add("UNIDIRECTIONAL_SEQUENCE_LSTM", operands, out, options)
    sequence = None
    if layer.keeps_sequence:
        sequence = _slice(ctx, layer, out, 1, layer.steps)
        sequence = _reverse(ctx, layer, sequence) if direction.backward else sequence
    last = None
    if layer.keeps_hidden:
        last = ctx.reshape(_slice(ctx, layer, out, layer.steps, 1), layer.state_shape, "last")
    return Results(sequence, last, None)


def _variable(ctx: Lowering, hint: str) -> str:
    return ctx.temporary("float32", (), hint).name


def _with_reset_step(ctx: Lowering, layer: Recurrence, direction: Direction, x: Tensor) -> Tensor:
    """Pad the inputs with a 0, then the time with a step of ones."""
    wide = np.zeros((3, 2), np.int32)
    wide[2, 1] = 1
    longer = np.zeros((3, 2), np.int32)
    longer[layer.time, 0] = 1
    inputs = (*x.shape[:2], direction.w.shape[1] + 1)
    x = ctx.add(
        "PAD",
        [x, ctx.constant(wide, "reset/input")],
        ctx.temporary("float32", inputs, "wide"),
        schema.PadOptionsT(),
    )
    shape = tuple(layer.steps + 1 if a == layer.time else size for a, size in enumerate(x.shape))
    one = ctx.constant(np.array(1, np.float32), "one")
    return ctx.add(
        "PADV2",
        [x, ctx.constant(longer, "reset/step"), one],
        ctx.temporary("float32", shape, "longer"),
        schema.PadV2OptionsT(),
    )


def _weights(ctx: Lowering, layer: Recurrence, direction: Direction) -> list[Tensor | None]:
    """Operands 1 to 15: input and recurrent weights, peepholes, biases, in TFLite's gate order."""
    w = direction.w.reshape(4, layer.units, -1)
    r = direction.r.reshape(4, layer.units, -1)
    b = (direction.input_bias + direction.recurrent_bias).reshape(4, -1)
    peepholes: list[NDArray[Any] | None] = [None] * 3
    if direction.peephole is not None:
        peepholes = list(np.asarray(direction.peephole, np.float32).reshape(3, -1))
    reset = _reset_weights(layer, w, r, b, peepholes)
    wide = np.concatenate([w, reset[:, :, None]], axis=2)
    i, o, f, c = range(4)  # ONNX's order
    order = (i, f, c, o)  # TFLite's
    operands: list[Tensor | None] = [ctx.constant(wide[g], f"w{g}") for g in order]
    operands += [ctx.constant(r[g], f"r{g}") for g in order]
    for g in (i, f, o):
        part = peepholes[g]
        operands.append(None if part is None else ctx.constant(part, f"peephole{g}"))
    return operands + [ctx.constant(b[g], f"b{g}") for g in order]


def _reset_weights(
    layer: Recurrence,
    w: NDArray[Any],
    r: NDArray[Any],
    b: NDArray[Any],
    peepholes: list[NDArray[Any] | None],
) -> NDArray[Any]:
    """Weights (4, units) that outweigh all else in the step of ones; 0 for the candidate."""
    others = np.abs(w).sum(2) + np.abs(r).sum(2) + np.abs(b)
    for gate, part in enumerate(peepholes):
        if part is not None:
            # A cell gains at most 1 a step.
            others[gate] += np.abs(part) * layer.steps
    reset = -(_CLOSED + others)
    reset[3] = 0.0
    return np.asarray(reset, np.float32)


def _slice(ctx: Lowering, layer: Recurrence, x: Tensor, begin: int, size: int) -> Tensor:
    starts, sizes = np.zeros(3, np.int32), np.array(x.shape, np.int32)
    starts[layer.time], sizes[layer.time] = begin, size
    out = ctx.temporary("float32", tuple(int(s) for s in sizes), "steps")
    bounds = [ctx.constant(starts, "begin"), ctx.constant(sizes, "size")]
    return ctx.add("SLICE", [x, *bounds], out, schema.SliceOptionsT())


def _reverse(ctx: Lowering, layer: Recurrence, x: Tensor) -> Tensor:
    axis = ctx.constant(np.array([layer.time], np.int32), "time")
    out = ctx.temporary("float32", x.shape, "reversed")
    return ctx.add("REVERSE_V2", [x, axis], out, schema.ReverseV2OptionsT())
