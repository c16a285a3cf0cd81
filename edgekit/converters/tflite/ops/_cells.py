"""Recurrent cells, unrolled step by step into basic operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import Lowering
from edgekit.converters.tflite.ops._recurrence import (
    Direction,
    Recurrence,
    Results,
    clipped,
    emit,
)


@dataclass(frozen=True)
class State:
    """What a cell hands to its next step; None stands for zeros."""

    hidden: Tensor | None
    cell: Tensor | None = None


def unroll(ctx: Lowering, layer: Recurrence, direction: Direction) -> Results:
    """One direction of a recurrent node, a few operators for each step."""
    make_step = CELLS[layer.op]
    step, bias = make_step(ctx, layer, direction)
    projected = _project(ctx, layer, direction, bias)
    state, hidden = State(direction.hidden, direction.cell), []
    for part in reversed(projected) if direction.backward else projected:
        state = step(part, state)
        hidden.append(state.hidden)
    if direction.backward:
        hidden.reverse()
    sequence = _stack(ctx, layer, hidden) if layer.keeps_sequence else None
    last = hidden[0] if direction.backward else hidden[-1]
    return Results(sequence, last, state.cell)


def _project(
    ctx: Lowering, layer: Recurrence, direction: Direction, bias: NDArray[Any]
) -> list[Tensor]:
    """W x + b of every step, as one product, one tensor of (batch, gates * units) a step."""
    rows, inputs = direction.w.shape
    flat = None if layer.batch is None else layer.batch * layer.steps
    x = ctx.reshape(layer.x, (flat, inputs), "flat")
    weight = ctx.constant(direction.w, "w")
    out = _dense(ctx, x, weight, ctx.constant(bias, "b"), "projected")
    if layer.steps == 1:
        return [out]
    shape = list(layer.x.shape)
    shape[2] = rows
    steps = [ctx.temporary("float32", (layer.batch, rows), "step") for _ in range(layer.steps)]
    options = schema.UnpackOptionsT(num=layer.steps, axis=layer.time)
    ctx.add("UNPACK", [ctx.reshape(out, tuple(shape), "steps")], steps, options)
    return steps


def _stack(ctx: Lowering, layer: Recurrence, hidden: Sequence[Tensor | None]) -> Tensor:
    shape = list(layer.x.shape)
    shape[2] = layer.units
    if len(hidden) == 1 and hidden[0] is not None:
        return ctx.reshape(hidden[0], tuple(shape), "sequence")
    options = schema.PackOptionsT(valuesCount=layer.steps, axis=layer.time)
    return ctx.add("PACK", hidden, ctx.temporary("float32", tuple(shape), "sequence"), options)


def _dense(ctx: Lowering, x: Tensor, weight: Tensor, bias: Tensor | None, hint: str) -> Tensor:
    out = ctx.temporary("float32", (x.shape[0], weight.shape[0]), hint)
    options = schema.FullyConnectedOptionsT()
    return ctx.add("FULLY_CONNECTED", [x, weight, bias], out, options)


def _split(ctx: Lowering, x: Tensor, count: int, units: int) -> list[Tensor]:
    """Equal parts of (batch, count * units)."""
    if count == 1:
        return [x]
    parts = [ctx.temporary("float32", (x.shape[0], units), "gate") for _ in range(count)]
    axis = ctx.constant(np.array(1, np.int32), "axis")
    ctx.add("SPLIT", [axis, x], parts, schema.SplitOptionsT(numSplits=count))
    return parts


def _sum(ctx: Lowering, x: Tensor, y: Tensor | None) -> Tensor:
    return x if y is None else emit(ctx, "ADD", x, y)


Step = Callable[[Tensor, State], State]


def _lstm(ctx: Lowering, layer: Recurrence, direction: Direction) -> tuple[Step, NDArray[Any]]:
    """The gates i, o, f and the candidate c.

    c' = f c + i g(c~), h = o h(c'), with peepholes from c to i and f, and from c' to o.
    """
    gate, candidate, squash = direction.activations
    recurrent = ctx.constant(direction.r, "r")
    peepholes: list[Tensor | None] = [None, None, None]
    if direction.peephole is not None:
        peepholes = [
            ctx.constant(part, "peephole")
            for part in np.asarray(direction.peephole, np.float32).reshape(3, -1)
        ]

    def open_gate(x: Tensor, cell: Tensor | None, peephole: Tensor | None) -> Tensor:
        seen = None if peephole is None or cell is None else emit(ctx, "MUL", cell, peephole)
        return gate(ctx, clipped(ctx, _sum(ctx, x, seen), layer.clip))

    def step(x: Tensor, state: State) -> State:
        if state.hidden is not None:
            x = emit(ctx, "ADD", x, _dense(ctx, state.hidden, recurrent, None, "recurrent"))
        i, o, f, c = _split(ctx, x, 4, layer.units)
        enter = open_gate(i, state.cell, peepholes[0])
        fresh = emit(ctx, "MUL", candidate(ctx, clipped(ctx, c, layer.clip)), enter)
        kept = None
        if state.cell is not None and layer.coupled:
            kept = emit(ctx, "SUB", state.cell, emit(ctx, "MUL", state.cell, enter))
        elif state.cell is not None:
            kept = emit(ctx, "MUL", state.cell, open_gate(f, state.cell, peepholes[2]))
        cell = _sum(ctx, fresh, kept)
        leave = open_gate(o, cell, peepholes[1])
        return State(emit(ctx, "MUL", squash(ctx, clipped(ctx, cell, layer.clip)), leave), cell)

    return step, direction.input_bias + direction.recurrent_bias


def _gru(ctx: Lowering, layer: Recurrence, direction: Direction) -> tuple[Step, NDArray[Any]]:
    """The gates z, r and the candidate n: h' = n + z (h - n)."""
    gate, candidate = direction.activations
    units = layer.units
    linear = layer.linear_before_reset
    bias, inner = direction.input_bias.copy(), direction.recurrent_bias
    bias[: 2 * units] += inner[: 2 * units]
    if not linear:
        bias[2 * units :] += inner[2 * units :]
    gates = ctx.constant(direction.r[: 2 * units], "r/gates")
    fresh = ctx.constant(direction.r[2 * units :], "r/candidate")
    offset = ctx.constant(inner[2 * units :], "r/bias") if linear else None

    def reset(r: Tensor, hidden: Tensor | None) -> Tensor | None:
        """The recurrent part of the candidate."""
        if hidden is None:
            return None if offset is None else emit(ctx, "MUL", r, offset)
        if linear:
            return emit(ctx, "MUL", r, _dense(ctx, hidden, fresh, offset, "recurrent"))
        return _dense(ctx, emit(ctx, "MUL", r, hidden), fresh, None, "recurrent")

    def step(x: Tensor, state: State) -> State:
        z, r, n = _split(ctx, x, 3, units)
        if state.hidden is not None:
            both = _split(ctx, _dense(ctx, state.hidden, gates, None, "gates"), 2, units)
            z, r = emit(ctx, "ADD", z, both[0]), emit(ctx, "ADD", r, both[1])
        update = gate(ctx, clipped(ctx, z, layer.clip))
        forget = gate(ctx, clipped(ctx, r, layer.clip))
        seen = _sum(ctx, n, reset(forget, state.hidden))
        proposal = candidate(ctx, clipped(ctx, seen, layer.clip))
        if state.hidden is None:
            rest = emit(ctx, "MUL", proposal, update)
            return State(emit(ctx, "SUB", proposal, rest))
        change = emit(ctx, "MUL", emit(ctx, "SUB", state.hidden, proposal), update)
        return State(emit(ctx, "ADD", proposal, change))

    return step, bias


def _rnn(ctx: Lowering, layer: Recurrence, direction: Direction) -> tuple[Step, NDArray[Any]]:
    """The new state is f(W x + R h + b)."""
    (activate,) = direction.activations
    recurrent = ctx.constant(direction.r, "r")

    def step(x: Tensor, state: State) -> State:
        if state.hidden is not None:
            x = emit(ctx, "ADD", x, _dense(ctx, state.hidden, recurrent, None, "recurrent"))
        return State(activate(ctx, clipped(ctx, x, layer.clip)))

    return step, direction.input_bias + direction.recurrent_bias


CELLS: dict[str, Callable[[Lowering, Recurrence, Direction], tuple[Step, NDArray[Any]]]] = {
    "LSTM": _lstm,
    "GRU": _gru,
    "RNN": _rnn,
}
"""Operator → makes the function of one step, and the bias that goes into W x + b."""
