"""Recurrent layers against the interpreter, freshly allocated so that its states are zero."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import UnsupportedError
from edgekit.testing.tiny_tflite import Scale, TinyModel, assert_same, run_imported

BATCH, TIME, FEATURES, UNITS = 2, 5, 3, 4
TANH = 4


def values(shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def gate_weights(tiny, seed, *, cifg=False, peephole=False):
    """Input, recurrent, peephole weights and biases, in the order of the operands."""
    operands = [tiny.constant(values((UNITS, FEATURES), seed + i)) for i in range(4)]
    operands += [tiny.constant(values((UNITS, UNITS), seed + 4 + i)) for i in range(4)]
    operands += [
        tiny.constant(values((UNITS,), seed + 8 + i)) if peephole else -1 for i in range(3)
    ]
    operands += [tiny.constant(values((UNITS,), seed + 11 + i)) for i in range(4)]
    if cifg:
        for position in (0, 4, 8, 11):
            operands[position] = -1
    return operands


def states(tiny, count, batch=BATCH):
    return [tiny.tensor((batch, UNITS), variable=True) for _ in range(count)]


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("cifg", [False, True])
@pytest.mark.parametrize("peephole", [False, True])
def test_unidirectional_lstm(time_major, cifg, peephole):
    shape = (TIME, BATCH, FEATURES) if time_major else (BATCH, TIME, FEATURES)
    tiny = TinyModel()
    x = tiny.input(shape)
    weights = gate_weights(tiny, 1, cifg=cifg, peephole=peephole)
    y = tiny.tensor((*shape[:2], UNITS))
    options = {"fusedActivationFunction": TANH, "timeMajor": time_major}
    tiny.op("UNIDIRECTIONAL_SEQUENCE_LSTM", [x, *weights, -1, -1, *states(tiny, 2)], [y],
            options, options_kind="UnidirectionalSequenceLSTMOptions")  # fmt: skip
    tiny.output(y)
    assert_same(tiny.pack(), [values(shape, 99)])


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("time_major", [False, True])
def test_bidirectional_lstm(merge, time_major):
    """Joined and batch-major, the interpreter disagrees with its own unjoined result from the
    second batch entry on; that form is compared on one entry."""
    batch = 1 if merge and not time_major else BATCH
    shape = (TIME, batch, FEATURES) if time_major else (batch, TIME, FEATURES)
    tiny = TinyModel()
    x = tiny.input(shape)
    forward, backward = gate_weights(tiny, 1), gate_weights(tiny, 31)
    operands = [x, *forward, -1, -1, *backward, -1, -1, *states(tiny, 4, batch), *[-1] * 9]
    width = 2 * UNITS if merge else UNITS
    results = [tiny.tensor((*shape[:2], width)) for _ in range(1 if merge else 2)]
    options = {"fusedActivationFunction": TANH, "timeMajor": time_major, "mergeOutputs": merge}
    tiny.op("BIDIRECTIONAL_SEQUENCE_LSTM", operands, results, options,
            options_kind="BidirectionalSequenceLSTMOptions")  # fmt: skip
    tiny.output(*results)
    assert_same(tiny.pack(), [values(shape, 99)])


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("activation", [1, TANH])
def test_unidirectional_rnn(time_major, activation):
    shape = (TIME, BATCH, FEATURES) if time_major else (BATCH, TIME, FEATURES)
    tiny = TinyModel()
    x = tiny.input(shape)
    weights = [values((UNITS, FEATURES), 1), values((UNITS, UNITS), 2), values((UNITS,), 3)]
    y = tiny.tensor((*shape[:2], UNITS))
    operands = [x, *(tiny.constant(w) for w in weights), *states(tiny, 1)]
    options = {"fusedActivationFunction": activation, "timeMajor": time_major}
    tiny.op(
        "UNIDIRECTIONAL_SEQUENCE_RNN", operands, [y], options, options_kind="SequenceRNNOptions"
    )
    tiny.output(y)
    assert_same(tiny.pack(), [values(shape, 99)])


def test_rnn_step():
    tiny = TinyModel()
    x = tiny.input((BATCH, FEATURES))
    weights = [values((UNITS, FEATURES), 1), values((UNITS, UNITS), 2), values((UNITS,), 3)]
    y = tiny.tensor((BATCH, UNITS))
    operands = [x, *(tiny.constant(w) for w in weights), *states(tiny, 1)]
    tiny.op("RNN", operands, [y], {"fusedActivationFunction": TANH}, options_kind="RNNOptions")
    tiny.output(y)
    assert_same(tiny.pack(), [values((BATCH, FEATURES), 99)])


@pytest.mark.parametrize("merge", [False, True])
def test_bidirectional_rnn(merge):
    shape = (BATCH, TIME, FEATURES)
    tiny = TinyModel()
    x = tiny.input(shape)
    operands = [x]
    for seed in (1, 11):
        operands += [tiny.constant(values((UNITS, FEATURES), seed))]
        operands += [tiny.constant(values((UNITS, UNITS), seed + 1))]
        operands += [tiny.constant(values((UNITS,), seed + 2)), *states(tiny, 1)]
    operands += [-1] * 3
    width = 2 * UNITS if merge else UNITS
    results = [tiny.tensor((*shape[:2], width)) for _ in range(1 if merge else 2)]
    options = {"fusedActivationFunction": TANH, "mergeOutputs": merge}
    tiny.op("BIDIRECTIONAL_SEQUENCE_RNN", operands, results, options,
            options_kind="BidirectionalSequenceRNNOptions")  # fmt: skip
    tiny.output(*results)
    assert_same(tiny.pack(), [values(shape, 99)])


def test_basic_lstm_step_is_the_textbook_formula():
    """The order of the gates is input, new, forget, output."""
    tiny = TinyModel()
    x, h, c = (tiny.input((BATCH, n)) for n in (FEATURES, UNITS, UNITS))
    weights, bias = values((4 * UNITS, FEATURES + UNITS), 1), values((4 * UNITS,), 2)
    out, state, joined, gates = (tiny.tensor((BATCH, n)) for n in (UNITS, UNITS, 7, 16))
    operands = [x, h, tiny.constant(weights), tiny.constant(bias), c]
    results, options = (
        [out, state, joined, gates],
        {"kernelType": 1, "fusedActivationFunction": TANH},
    )
    tiny.op("LSTM", operands, results, options, options_kind="LSTMOptions", version=2)
    tiny.output(out, state)
    assert_same(tiny.pack(), [values((BATCH, n), n) for n in (FEATURES, UNITS, UNITS)])


def lstm_with(**changes):
    tiny = TinyModel()
    x = tiny.input((BATCH, TIME, FEATURES))
    operands = [x, *gate_weights(tiny, 1), -1, -1, *states(tiny, 2), -1, -1, -1, -1]
    options = {"fusedActivationFunction": TANH, **changes.get("options", {})}
    for position, shape in changes.get("extra", {}).items():
        operands[position] = tiny.constant(values(shape))
    y = tiny.tensor((BATCH, TIME, UNITS))
    tiny.op("UNIDIRECTIONAL_SEQUENCE_LSTM", operands, [y], options,
            options_kind="UnidirectionalSequenceLSTMOptions")  # fmt: skip
    tiny.output(y)
    return tiny.pack()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"options": {"cellClip": 1.0}}, "clips its cell state at 1"),
        ({"extra": {16: (UNITS, UNITS)}}, "projection"),
        ({"extra": {20: (UNITS,), 21: (UNITS,), 22: (UNITS,), 23: (UNITS,)}}, "normalizes"),
    ],
)
def test_what_onnx_cannot_express_has_a_reason(changes, reason):
    with pytest.raises(UnsupportedError, match=reason) as error:
        run_imported(lstm_with(**changes), [values((BATCH, TIME, FEATURES))])
    assert [r.op for r in error.value.reasons] == ["UNIDIRECTIONAL_SEQUENCE_LSTM"]


def test_8_bit_recurrent_weights_are_dequantized():
    """Hybrid: the interpreter rounds activations, so weights on a coarse grid are compared."""
    tiny, reference = TinyModel(), TinyModel()
    rng = np.random.default_rng(0)
    packs = []
    for model in (tiny, reference):
        x = model.input((BATCH, TIME, FEATURES))
        packs.append([x])
    for columns in [FEATURES] * 4 + [UNITS] * 4:
        grid = rng.integers(-8, 9, (UNITS, columns)).astype(np.int8)
        packs[0].append(tiny.constant(grid, scale=Scale(0.125)))
        packs[1].append(reference.constant(grid.astype(np.float32) * np.float32(0.125)))
    for model, operands in zip((tiny, reference), packs, strict=True):
        operands += [-1] * 3 + [model.constant(values((UNITS,), i)) for i in range(4)]
        operands += [-1, -1, *states(model, 2)]
        y = model.tensor((BATCH, TIME, UNITS))
        model.op("UNIDIRECTIONAL_SEQUENCE_LSTM", operands, [y], {"fusedActivationFunction": TANH},
                 options_kind="UnidirectionalSequenceLSTMOptions")  # fmt: skip
        model.output(y)
    feeds = [values((BATCH, TIME, FEATURES), 5)]
    np.testing.assert_array_equal(
        run_imported(tiny.pack(), feeds)[0], run_imported(reference.pack(), feeds)[0]
    )


def test_lstm_step_of_the_full_kernel():
    tiny = TinyModel()
    x = tiny.input((BATCH, FEATURES))
    y = tiny.tensor((BATCH, UNITS))
    operands = [x, *gate_weights(tiny, 1), -1, -1, *states(tiny, 2)]
    tiny.op("LSTM", operands, [y], {"fusedActivationFunction": TANH}, options_kind="LSTMOptions")
    tiny.output(y)
    assert_same(tiny.pack(), [values((BATCH, FEATURES), 99)])
