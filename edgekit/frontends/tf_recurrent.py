"""Carries Keras' recurrent layers through TensorFlow into ONNX as LSTM, GRU and RNN nodes.

Traced as it is, a recurrent layer becomes a while loop over tensor lists, which no edge target
takes. Here the layers of a model are given another `call` for the time of one trace: it puts a
`CudnnRNN` operator in the graph as a marker, never run, whose number finds the layer's weights
again when tf2onnx asks what the marker means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MARKER = "CudnnRNN"

_ACTIVATIONS: Mapping[str, str] = {
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "relu": "Relu",
    "softsign": "Softsign",
    "softplus": "Softplus",
    "hard_sigmoid": "HardSigmoid",
}

_HARD_SIGMOID: Mapping[str, tuple[float, float]] = {
    "keras": (1 / 6, 0.5),
    "tf_keras": (0.2, 0.5),
}
"""Slope and offset of the function that each Keras calls hard_sigmoid."""

_GATES: Mapping[str, tuple[int, ...]] = {
    "LSTM": (0, 3, 1, 2),
    "GRU": (0, 1, 2),
    "SimpleRNN": (0,),
}
"""Where each ONNX gate (iofc, zrh) stands among Keras' (ifco, zrh)."""

_OPERATORS: Mapping[str, str] = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN"}

_NO_STATE = 1
"""Value of the marker's `seed2` when the layer starts from zeros."""


@dataclass(frozen=True)
class RecurrentCell:
    """One recurrent layer in ONNX terms.

    Attributes:
        op: LSTM, GRU or RNN.
        w: input weights, (1, gates * units, inputs).
        r: recurrent weights, (1, gates * units, units).
        b: both biases, (1, 2 * gates * units).
        attributes: of the ONNX node.
    """

    op: str
    w: NDArray[np.float32]
    r: NDArray[np.float32]
    b: NDArray[np.float32]
    attributes: Mapping[str, Any]


@dataclass
class Carrier:
    """The layers that a trace carries as markers; a marker's `seed` is the index here."""

    cells: list[RecurrentCell] = field(default_factory=list)

    def handlers(self) -> dict[str, tuple[Any, list[Any]]]:
        """What tf2onnx calls for a marker."""

        def emit(ctx: Any, node: Any, name: str, args: list[Any]) -> None:
            _emit(ctx, node, self.cells[node.get_attr_value("seed")])

        return {MARKER: (emit, [])}


@contextmanager
def carried(
    layers: Sequence[Any], plain: Callable[[Any], Any] = lambda layer: None
) -> Iterator[Carrier]:
    """For the time of one trace, let the recurrent layers among these leave markers.

    A layer that ONNX cannot say (a mask, an odd activation, recurrent state kept between calls)
    keeps its own `call`.

    Args:
        layers: all layers of a model, nested ones included.
        plain: another `call` for a layer that is not recurrent, or None for its own.
    """
    carrier = Carrier()
    changed: list[Any] = []
    try:
        for layer in layers:
            call = _call_of(layer, carrier) or plain(layer)
            if call is not None:
                layer.call = call
                changed.append(layer)
        yield carrier
    finally:
        for layer in changed:
            del layer.call


def _call_of(layer: Any, carrier: Carrier) -> Any:
    if type(layer).__name__ == "Bidirectional" and _framework(layer):
        return _bidirectional_call(layer, carrier)
    cell = _describe(layer)
    return None if cell is None else _layer_call(layer, cell, carrier)


def _framework(layer: Any) -> str:
    root = type(layer).__module__.partition(".")[0]
    return root if root in _HARD_SIGMOID else ""


def _describe(layer: Any) -> RecurrentCell | None:
    kind = type(layer).__name__
    if kind not in _GATES or not _framework(layer) or getattr(layer, "stateful", False):
        return None
    activations = _activations(layer, kind)
    if activations is None or layer.compute_dtype != "float32":
        return None
    cell = layer.cell
    gates = _GATES[kind]
    w = _reorder(np.asarray(cell.kernel), gates)
    r = _reorder(np.asarray(cell.recurrent_kernel), gates)
    bias = _bias(cell, gates, r.shape[0])
    attributes: dict[str, Any] = {"hidden_size": int(r.shape[0]), **activations}
    if kind == "GRU":
        attributes["linear_before_reset"] = int(bool(cell.reset_after))
    if layer.go_backwards:
        attributes["direction"] = "reverse"
    return RecurrentCell(_OPERATORS[kind], w.T[None], r.T[None], bias[None], attributes)


def _activations(layer: Any, kind: str) -> dict[str, Any] | None:
    inner = getattr(layer.activation, "__name__", "linear")
    if kind == "SimpleRNN":
        names = [inner]
    else:
        gate = getattr(layer.recurrent_activation, "__name__", "linear")
        names = [gate, inner, inner] if kind == "LSTM" else [gate, inner]
    if any(name not in _ACTIVATIONS for name in names):
        return None
    hard = sum(name == "hard_sigmoid" for name in names)
    slope, offset = _HARD_SIGMOID[_framework(layer)]
    result: dict[str, Any] = {"activations": [_ACTIVATIONS[name] for name in names]}
    if hard:
        result |= {"activation_alpha": [slope] * hard, "activation_beta": [offset] * hard}
    return result


def _reorder(weights: NDArray[Any], gates: tuple[int, ...]) -> NDArray[np.float32]:
    parts = np.split(weights.astype(np.float32), len(gates), axis=-1)
    return np.concatenate([parts[i] for i in gates], axis=-1)


def _bias(cell: Any, gates: tuple[int, ...], units: int) -> NDArray[np.float32]:
    zeros = np.zeros(len(gates) * units, np.float32)
    if not cell.use_bias:
        return np.concatenate([zeros, zeros])
    bias = np.asarray(cell.bias)
    both = list(bias) if bias.ndim > 1 else [bias]
    parts = [_reorder(b, gates) for b in both]
    return np.concatenate([*parts, zeros] if len(parts) == 1 else parts)


def _layer_call(layer: Any, cell: RecurrentCell, carrier: Carrier) -> Any:
    original = layer.call

    def call(
        sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None
    ) -> Any:
        if mask is not None:
            return original(sequences, initial_state=initial_state, mask=mask, training=training)
        every, last, states = _mark(sequences, initial_state, cell, carrier)
        output = last
        if layer.return_sequences:
            output = _reverse_time(every) if layer.go_backwards else every
        return (output, *states) if layer.return_state else output

    return call


_MERGES: Mapping[str | None, Any] = {
    "sum": lambda y: y[0] + y[1],
    "mul": lambda y: y[0] * y[1],
    "ave": lambda y: (y[0] + y[1]) / 2,
    None: lambda y: y,
}


def _bidirectional_call(layer: Any, carrier: Carrier) -> Any:
    """A call that spares reversing the backward outputs twice."""
    cells = [_describe(layer.forward_layer), _describe(layer.backward_layer)]
    if layer.return_state or any(cell is None for cell in cells):
        return None
    original = layer.call

    def call(
        sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None
    ) -> Any:
        import tensorflow as tf

        if mask is not None or initial_state is not None:
            return original(sequences, initial_state=initial_state, mask=mask, training=training)
        marks = [_mark(sequences, None, cell, carrier) for cell in cells if cell is not None]
        both = [every if layer.return_sequences else last for every, last, _ in marks]
        if layer.merge_mode == "concat":
            return tf.concat(both, axis=-1)
        return _MERGES[layer.merge_mode](both)

    return call


def _reverse_time(sequences: Any) -> Any:
    import tensorflow as tf

    return tf.reverse(sequences, axis=[1])


def _mark(
    sequences: Any, initial_state: Any, cell: RecurrentCell, carrier: Carrier
) -> tuple[Any, Any, tuple[Any, ...]]:
    import tensorflow as tf

    x = tf.transpose(tf.cast(sequences, tf.float32), [1, 0, 2])
    units = cell.attributes["hidden_size"]
    given = () if initial_state is None else tuple(tf.nest.flatten(initial_state))
    h = given[0][None] if given else tf.zeros([1, tf.shape(x)[1], units])
    c = given[1][None] if len(given) > 1 else h
    carrier.cells.append(cell)
    marker = tf.raw_ops.CudnnRNN(
        input=x,
        input_h=h,
        input_c=c,
        params=tf.zeros([1]),
        rnn_mode="lstm",
        is_training=False,
        seed=len(carrier.cells) - 1,
        seed2=0 if given else _NO_STATE,
    )
    every = tf.transpose(marker.output, [1, 0, 2])
    every.set_shape([sequences.shape[0], sequences.shape[1], units])
    states = [marker.output_h[0], marker.output_c[0]][: 2 if cell.op == "LSTM" else 1]
    for state in states:
        state.set_shape([sequences.shape[0], units])
    return every, states[0], tuple(states)


def _emit(ctx: Any, node: Any, cell: RecurrentCell) -> None:
    """Replace a marker by its ONNX node."""
    name = node.name
    shapes, dtypes = node.output_shapes, node.output_dtypes
    outputs = list(node.output)
    starts_from_zero = node.get_attr_value("seed2") == _NO_STATE
    states = [] if starts_from_zero else node.input[1 : 3 if cell.op == "LSTM" else 2]
    x = node.input[0]
    ctx.remove_node(node.name)
    weights = [
        ctx.make_const(f"{name}_{key}", value).output[0]
        for key, value in (("W", cell.w), ("R", cell.r), ("B", cell.b))
    ]
    inputs = [x, *weights, *(["", *states] if states else [])]
    every = f"{name}_Y"
    last = outputs[1:3] if cell.op == "LSTM" else outputs[1:2]
    ctx.make_node(
        cell.op, inputs, attr=dict(cell.attributes), name=name, outputs=[every, *last],
        shapes=[_with_direction(shapes[0]), *shapes[1 : 1 + len(last)]],
        dtypes=dtypes[: 1 + len(last)], skip_conversion=True,
    )  # fmt: skip
    axes = ctx.make_const(f"{name}_axes", np.array([1], np.int64)).output[0]
    ctx.make_node(
        "Squeeze", [every, axes], outputs=[outputs[0]], shapes=[shapes[0]], dtypes=[dtypes[0]],
        skip_conversion=True,
    )  # fmt: skip


def _with_direction(shape: Sequence[int] | None) -> list[int] | None:
    return None if shape is None else [shape[0], 1, *shape[1:]]
