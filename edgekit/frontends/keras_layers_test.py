"""Layers of Keras against Keras itself: what the exported graph computes is what Keras computes.

All models are built and exported in one child process, since TensorFlow takes seconds to import:
`python -m edgekit.frontends.keras_layers_test FOLDER` is that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import EdgeKitError, UnsupportedError
from edgekit.frontends.onnx import read_graph
from edgekit.frontends.onnx_files import save
from edgekit.ir import Oracle

IMAGE, SERIES, VECTOR = (8, 8, 3), (6, 4), (5,)


ACTIVATIONS = (
    *("elu", "exponential", "gelu", "hard_sigmoid", "hard_swish", "leaky_relu", "linear"),
    *("log_softmax", "mish", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh"),
)


RECURRENT = {
    "lstm": lambda k: (SERIES, [k.LSTM(3)]),
    "lstm_sequences": lambda k: (SERIES, [k.LSTM(3, return_sequences=True), k.LSTM(2)]),
    "lstm_backwards": lambda k: (SERIES, [k.LSTM(3, return_sequences=True, go_backwards=True)]),
    "lstm_hard": lambda k: (SERIES, [k.LSTM(3, recurrent_activation="hard_sigmoid")]),
    "lstm_any_length": lambda k: ((None, 4), [k.LSTM(3, use_bias=False)]),
    "gru": lambda k: (SERIES, [k.GRU(3)]),
    "gru_reset_before": lambda k: (SERIES, [k.GRU(3, reset_after=False, return_sequences=True)]),
    "rnn": lambda k: (SERIES, [k.SimpleRNN(3, activation="relu")]),
    "bidirectional": lambda k: (SERIES, [k.Bidirectional(k.LSTM(3, return_sequences=True))]),
    "bidirectional_sum": lambda k: (SERIES, [k.Bidirectional(k.GRU(3), merge_mode="sum")]),
}
"""Models that must come out with a recurrent operator and no loop."""


def activation_model(name):
    return lambda k: (VECTOR, [k.Activation(name)])


LAYERS = {
    "conv": lambda k: (IMAGE, [k.Conv2D(4, 3, strides=2, padding="same", activation="relu")]),
    "conv_dilated": lambda k: (IMAGE, [k.Conv2D(4, 3, dilation_rate=2)]),
    "conv_grouped": lambda k: ((8, 8, 4), [k.Conv2D(4, 3, groups=2)]),
    "conv_relu6": lambda k: (IMAGE, [k.Conv2D(4, 3), k.BatchNormalization(), k.ReLU(6.0)]),
    "depthwise": lambda k: (IMAGE, [k.DepthwiseConv2D(3, depth_multiplier=2)]),
    "separable": lambda k: (IMAGE, [k.SeparableConv2D(4, 3, padding="same")]),
    "transpose": lambda k: (IMAGE, [k.Conv2DTranspose(4, 3, strides=2, padding="same")]),
    "conv1d": lambda k: (SERIES, [k.Conv1D(5, 3, padding="causal", activation="gelu")]),
    "depthwise1d": lambda k: (SERIES, [k.DepthwiseConv1D(3)]),
    "separable1d": lambda k: (SERIES, [k.SeparableConv1D(5, 3)]),
    "transpose1d": lambda k: (SERIES, [k.Conv1DTranspose(5, 3, strides=2)]),
    "pooling": lambda k: (IMAGE, [k.MaxPooling2D(), k.AveragePooling2D(2, padding="same")]),
    "pooling1d": lambda k: (SERIES, [k.MaxPooling1D(), k.GlobalAveragePooling1D()]),
    "global": lambda k: (IMAGE, [k.GlobalMaxPooling2D(), k.Dense(3, activation="softmax")]),
    "padding": lambda k: (IMAGE, [k.ZeroPadding2D(1), k.Cropping2D(((1, 2), (0, 1))), k.Flatten()]),
    "upsampling": lambda k: (
        IMAGE,
        [k.UpSampling2D(2), k.UpSampling2D(2, interpolation="bilinear")],
    ),
    "resizing": lambda k: (IMAGE, [k.Resizing(5, 12)]),
    "resizing_nearest": lambda k: (IMAGE, [k.Resizing(16, 16, interpolation="nearest")]),
    "preprocessing": lambda k: (IMAGE, [k.Rescaling(1 / 127.5, -1), k.CenterCrop(4, 4)]),
    "normalization": lambda k: (
        VECTOR,
        [k.Normalization(mean=[1, 2, 3, 4, 5], variance=[1, 4, 9, 1, 4])],
    ),
    "layer_norm": lambda k: (SERIES, [k.LayerNormalization(), k.Dropout(0.5)]),
    "rms_norm": lambda k: (SERIES, [k.RMSNormalization()]),
    "group_norm": lambda k: ((8, 8, 4), [k.GroupNormalization(2)]),
    "unit_norm": lambda k: (SERIES, [k.UnitNormalization()]),
    "reshape": lambda k: (IMAGE, [k.Permute((3, 1, 2)), k.Reshape((3, 64))]),
    "prelu": lambda k: (IMAGE, [k.PReLU(shared_axes=[1, 2]), k.LeakyReLU(), k.ELU()]),
    "time_distributed": lambda k: (SERIES, [k.TimeDistributed(k.Dense(3)), k.Flatten()]),
    "noise": lambda k: (VECTOR, [k.GaussianNoise(0.3), k.AlphaDropout(0.2), k.Dense(2)]),
    **{f"activation_{name}": activation_model(name) for name in ACTIVATIONS},
    **RECURRENT,
}
"""Name → what makes the input shape and the layers of a sequential model."""


def build(folder: Path) -> None:
    """Build, run and export every model: data in NAME.npz, the graph in NAME.onnx."""
    import keras
    import tf_keras

    from edgekit.frontends.keras_code import check_config
    from edgekit.frontends.tf_export import export_keras

    keras.utils.set_random_seed(7)
    failures: dict[str, str] = {}
    for name, model in {**_sequential(keras), **_functional(keras), **_legacy(tf_keras)}.items():
        try:
            check_config(model.to_json(), name)
            _write(folder, name, model, export_keras(model, name))
        except EdgeKitError as e:
            failures[name] = str(e)
    (folder / "failures.json").write_text(json.dumps(failures))


def _sequential(keras):
    return {
        name: keras.Sequential([keras.Input(shape, name="data"), *layers])
        for name, (shape, layers) in ((n, make(keras.layers)) for n, make in LAYERS.items())
    }


def _legacy(tf_keras):
    k = tf_keras.layers
    cases = {f"legacy_{name}": make(k) for name, make in RECURRENT.items()}
    return {
        name: tf_keras.Sequential([k.Input(shape, name="data"), *layers])
        for name, (shape, layers) in cases.items()
    }


def _functional(keras):
    k, ops = keras.layers, keras.ops
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    merged = k.Concatenate()([left, k.Multiply()([left, right])])
    two = keras.Model(
        {"right": right, "left": left},
        [k.Dense(2, name="first")(merged), k.Dense(3, name="second")(merged)],
    )
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    embedded = k.Embedding(11, 8)(tokens)
    attended = k.MultiHeadAttention(2, 4)(embedded, embedded)
    transformer = keras.Model(tokens, k.LayerNormalization()(k.Add()([embedded, attended])))
    image = keras.Input((8, 8, 3), name="image")
    excited = k.Dense(3, activation="sigmoid")(k.GlobalAveragePooling2D(keepdims=True)(image))
    gated = keras.Model(image, ops.mean(image * excited, axis=[1, 2]))
    unread = keras.Input((2,), name="unread")
    spare = keras.Model([left, unread], k.Dense(2, name="out")(left))
    state, series = keras.Input((3,), name="state"), keras.Input((6, 4), name="series")
    gru = k.GRU(3, return_sequences=True, return_state=True)
    streaming = keras.Model([series, state], gru(series, initial_state=state))
    mask = k.Masking()(series)
    masked = keras.Model(series, k.LSTM(3)(mask))
    nested = keras.Sequential([keras.Input((8, 8, 3)), keras.Sequential([k.Conv2D(2, 3)])])
    no_form = keras.Model(left, ops.erfinv(left * 0.1))
    same = k.Dense(2, name="same")
    twice = keras.Model([left, right], [same(left), same(right)])
    return {
        "two_by_two": two,
        "transformer": transformer,
        "gated": gated,
        "spare_input": spare,
        "streaming_gru": streaming,
        "masked_lstm": masked,
        "nested": nested,
        "shared_output_name": twice,
        "no_form": no_form,
    }


def _write(folder: Path, name: str, model, exported) -> None:
    rng = np.random.default_rng(3)
    arrays = {}
    for i, value in enumerate(exported.ir.graph.inputs):
        sizes = [d if isinstance(d, int) else 3 for d in value.shape]
        integer = np.issubdtype(value.dtype.numpy(), np.integer)
        data = rng.integers(0, 11, sizes) if integer else rng.standard_normal(sizes)
        arrays[f"in_{i}"] = data.astype(value.dtype.numpy())
    feed = list(arrays.values())
    if name == "two_by_two":
        feed = dict(zip(("left", "right"), feed, strict=True))
    elif len(feed) == 1:
        feed = feed[0]
    results = model(feed, training=False)
    results = results if isinstance(results, (list, tuple)) else [results]
    arrays |= {f"out_{i}": np.asarray(r) for i, r in enumerate(results)}
    np.savez(folder / f"{name}.npz", **arrays)
    save(exported.ir, folder / f"{name}.onnx")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    command = [sys.executable, "-m", "edgekit.frontends.keras_layers_test", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


NAMES = (
    *LAYERS,
    *("two_by_two", "transformer", "gated", "spare_input", "streaming_gru", "masked_lstm"),
    *("nested", "shared_output_name"),
    *(f"legacy_{name}" for name in RECURRENT),
)


@pytest.mark.parametrize("name", NAMES)
def test_graph_computes_what_keras_computes(built, name):
    failures = json.loads((built / "failures.json").read_text())
    assert name not in failures, failures[name]
    graph = read_graph(built / f"{name}.onnx")
    data = np.load(built / f"{name}.npz")
    with Oracle(graph) as oracle:
        feeds = {value: data[f"in_{i}"] for i, value in enumerate(oracle.inputs)}
        results = list(oracle.run(feeds).values())
    assert len(results) == sum(key.startswith("out_") for key in data)
    for i, result in enumerate(results):
        expected = data[f"out_{i}"]
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, atol=1e-5 * max(1, np.ptp(expected)))


@pytest.mark.parametrize("name", [*RECURRENT, *(f"legacy_{name}" for name in RECURRENT)])
def test_recurrent_layers_have_no_loop(built, name):
    operators = {node.op_type for node in read_graph(built / f"{name}.onnx").graph}
    assert operators & {"LSTM", "GRU", "RNN"}
    assert not operators & {"Loop", "Scan", "If", "Shape"}


def test_operator_without_an_onnx_form_is_named(built):
    with pytest.raises(UnsupportedError) as error:
        read_graph(built / "no_form.onnx")
    assert [reason.op for reason in error.value.reasons] == ["Erfinv"]


def test_names_order_and_batch(built):
    graph = read_graph(built / "two_by_two.onnx").graph
    assert [v.name for v in graph.inputs] == ["left", "right"]
    assert [v.name for v in graph.outputs] == ["first", "second"]
    assert [str(v.shape[0]) for v in (*graph.inputs, *graph.outputs)] == ["batch"] * 4
    spare = read_graph(built / "spare_input.onnx").graph
    assert [v.name for v in spare.inputs] == ["left", "unread"]
    same = read_graph(built / "shared_output_name.onnx").graph
    assert len({v.name for v in same.outputs}) == 2


if __name__ == "__main__":
    build(Path(sys.argv[1]))
