"""LSTM, GRU and RNN.

TFLite has no recurrent operator with the states of ONNX as inputs and outputs. Sequences are
unrolled into basic operators, with the products with the inputs taken out of the loop. A long LSTM
that starts from zeros becomes UNIDIRECTIONAL_SEQUENCE_LSTM instead (see `_fused_lstm`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import (
    CannotLower,
    Lower,
    Lowering,
    constant_of,
    constant_operand,
    float_attribute,
    int_attribute,
    operand,
    string_attribute,
)
from edgekit.converters.tflite.ops._cells import CELLS, unroll
from edgekit.converters.tflite.ops._fused_lstm import fused_lstm, suits_fused_lstm
from edgekit.converters.tflite.ops._recurrence import (
    GATES,
    Direction,
    Recurrence,
    Results,
    activations_of,
)

_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}

LONGEST_UNROLLED = 512
"""Steps beyond which an unrolled file becomes unwieldy."""


def lower_recurrent(ctx: Lowering, node: onnx_ir.Node) -> None:
    """LSTM, GRU and RNN in every direction and layout, with states in and out."""
    layer = _read(ctx, node)
    if suits_fused_lstm(layer):
        run = fused_lstm
    elif layer.steps <= LONGEST_UNROLLED:
        run = unroll
    else:
        raise CannotLower(
            f"a sequence of {layer.steps} steps is too long to unroll",
            f"feed at most {LONGEST_UNROLLED} steps at a time, with the states as inputs",
        )
    results = [run(ctx, layer, direction) for direction in layer.directions]
    _write(ctx, node, layer, results)


def _read(ctx: Lowering, node: onnx_ir.Node) -> Recurrence:
    x, layout = ctx.input(node, 0), int_attribute(node, "layout", 0)
    time, batch = (1, 0) if layout else (0, 1)
    steps, size = x.shape[time], x.shape[batch]
    if x.dtype != "float32":
        raise CannotLower(f"{node.op_type} of {x.dtype}", "keep it in float32")
    if steps is None:
        raise CannotLower("the length of the sequence is dynamic", "fix the input shapes")
    _check_lengths(node, steps)
    backwards = _DIRECTIONS.get(string_attribute(node, "direction", "forward"))
    if backwards is None:
        raise CannotLower("its direction is unknown")
    weights = constant_operand(node, 2, "the recurrent weights")
    clip = float_attribute(node, "clip", 0.0)
    layer = Recurrence(
        op=node.op_type,
        x=x,
        time=time,
        steps=steps,
        batch=size,
        units=weights.shape[2],
        clip=clip if np.isfinite(clip) and clip > 0 else 0.0,
        coupled=bool(int_attribute(node, "input_forget", 0)),
        linear_before_reset=bool(int_attribute(node, "linear_before_reset", 0)),
        keeps_sequence=_is_read(node, 0),
        keeps_hidden=_is_read(node, 1),
        keeps_cell=_is_read(node, 2),
    )
    activations = activations_of(node, len(backwards))
    for index, backward in enumerate(backwards):
        layer.directions.append(_direction(ctx, node, index, backward, activations[index], layout))
    return layer


def _check_lengths(node: onnx_ir.Node, steps: int) -> None:
    lengths = operand(node, 4)
    if lengths is None:
        return
    values = constant_of(lengths)
    if values is None or (values != steps).any():
        raise CannotLower(
            "its sequences have lengths of their own (sequence_lens)",
            "remove sequence_lens, or run each sequence by itself",
        )


def _direction(
    ctx: Lowering,
    node: onnx_ir.Node,
    index: int,
    backward: bool,
    activations: tuple[Callable[[Lowering, Tensor], Tensor], ...],
    layout: int,
) -> Direction:
    w = constant_operand(node, 1, "the input weights")[index]
    r = constant_operand(node, 2, "the recurrent weights")[index]
    rows = GATES[node.op_type] * r.shape[1]
    bias = np.zeros(2 * rows, w.dtype)
    if operand(node, 3) is not None:
        bias = constant_operand(node, 3, "the bias")[index]
    peephole = None
    if node.op_type == "LSTM" and operand(node, 7) is not None:
        given = constant_operand(node, 7, "the peephole weights")[index]
        peephole = given if given.any() else None
    return Direction(
        backward=backward,
        w=np.asarray(w, np.float32),
        r=np.asarray(r, np.float32),
        input_bias=np.asarray(bias[:rows], np.float32),
        recurrent_bias=np.asarray(bias[rows:], np.float32),
        peephole=peephole,
        hidden=_initial(ctx, node, 5, index, layout),
        cell=_initial(ctx, node, 6, index, layout) if node.op_type == "LSTM" else None,
        activations=activations,
        default_activations=_has_default_activations(node),
    )


def _has_default_activations(node: onnx_ir.Node) -> bool:
    given = node.attributes.get("activations")
    return given is None or list(given.as_strings()) == _DEFAULTS * (len(given.as_strings()) // 3)


_DEFAULTS = ["Sigmoid", "Tanh", "Tanh"]


def _initial(
    ctx: Lowering, node: onnx_ir.Node, operand_index: int, index: int, layout: int
) -> Tensor | None:
    """One direction's initial state, (batch, units); None for zeros."""
    value = operand(node, operand_index)
    if value is None:
        return None
    data = constant_of(value)
    if data is not None and not data.any():
        return None
    state = ctx.tensor(value)
    axis = 1 if layout else 0
    shape = tuple(size for a, size in enumerate(state.shape) if a != axis)
    if state.shape[axis] == 1:
        return ctx.reshape(state, shape, "initial")
    begin, size = np.zeros(3, np.int32), np.full(3, -1, np.int32)
    begin[axis], size[axis] = index, 1
    part = ctx.temporary("float32", (*state.shape[:axis], 1, *state.shape[axis + 1 :]), "initial")
    bounds = [ctx.constant(begin, "begin"), ctx.constant(size, "size")]
    ctx.add("SLICE", [state, *bounds], part, schema.SliceOptionsT())
    return ctx.reshape(part, shape, "initial/squeezed")


def _is_read(node: onnx_ir.Node, index: int) -> bool:
    if index >= len(node.outputs):
        return False
    value = node.outputs[index]
    return bool(value.uses()) or value.is_graph_output()


def _write(ctx: Lowering, node: onnx_ir.Node, layer: Recurrence, results: list[Results]) -> None:
    layout = layer.time
    if layer.keeps_sequence:
        parts = [result.sequence for result in results]
        _join(ctx, parts, 2 if layout else 1, ctx.output(node, 0))
    if layer.keeps_hidden:
        _join(ctx, [result.hidden for result in results], layout, ctx.output(node, 1))
    if layer.keeps_cell:
        _join(ctx, [result.cell for result in results], layout, ctx.output(node, 2))


def _join(ctx: Lowering, parts: list[Tensor | None], axis: int, out: Tensor) -> None:
    """Stack the directions along a new axis."""
    present = [part for part in parts if part is not None]
    if len(present) == 1:
        ctx.reshape(present[0], out.shape, "directions", out)
        return
    options = schema.PackOptionsT(valuesCount=len(present), axis=axis)
    ctx.add("PACK", present, out, options)


LOWERINGS: dict[str, Lower] = dict.fromkeys(CELLS, lower_recurrent)
