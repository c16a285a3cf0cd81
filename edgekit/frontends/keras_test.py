"""Keras and SavedModel files: read in a child process, compared with the framework that wrote them.

`python -m edgekit.frontends.keras_test FOLDER` writes the files and their frameworks' answers, in
one process, since TensorFlow takes seconds to import.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import EdgeKitError, ModelFileError, UnsupportedError
from edgekit.frontends.base import LoadOptions
from edgekit.frontends.keras import KerasFrontend
from edgekit.frontends.load import load
from edgekit.frontends.onnx import read_graph
from edgekit.ir import Oracle
from edgekit.testing.damage import damaged
from edgekit.testing.data import shared

REAL = {
    "resnet8.h5": ((4, 32, 32, 3), 255.0),
    "mobilenet_v1_vww.h5": ((2, 96, 96, 3), 1.0),
    "autoencoder_toycar.h5": ((4, 640), 1.0),
    "streaming_wakeword.h5": ((4, 30, 1, 40), 1.0),
    "ds_cnn_saved_model": ((4, 49, 10, 1), 1.0),
}
"""Shape of a batch for each shared model, and the largest value in it."""


def write(folder: Path) -> None:
    """Write good, bad and hostile files, with `NAME.npz` for the good ones."""
    import h5py
    import keras
    import tensorflow as tf
    import tf_keras

    keras.utils.set_random_seed(3)
    data = np.random.default_rng(0).standard_normal((2, 6, 6, 3)).astype(np.float32)
    good = _classifier(keras)
    good.save(folder / "good.keras")
    np.savez(folder / "good.npz", data=data, result=np.asarray(good(data)))
    legacy = _classifier(tf_keras)
    legacy.save(folder / "legacy.h5")
    np.savez(folder / "legacy.npz", data=data, result=np.asarray(legacy(data)))
    good.save_weights(folder / "only.weights.h5")
    good.export(folder / "exported", verbose=False)

    _write_objects(folder, keras, {"good": good, "legacy": legacy}, data)
    lam = keras.Sequential([keras.Input((2,), name="x"), keras.layers.Lambda(lambda x: x * 2)])
    lam.save(folder / "lambda.keras")
    lam.save(folder / "lambda.h5")
    with h5py.File(folder / "link.h5", "w") as f:
        f.attrs["model_config"] = good.to_json()
        f["weights"] = h5py.ExternalLink("/etc/passwd", "x")
    with h5py.File(folder / "bomb.h5", "w") as f:
        f.attrs["model_config"] = good.to_json()
        f.create_dataset("w", (1 << 40,), chunks=(1 << 20,), compression="gzip")
    _write_saved_models(folder, tf)


def _classifier(keras):
    k = keras.layers
    inputs = k.Input((6, 6, 3), name="image")
    x = k.BatchNormalization()(k.DepthwiseConv2D(3, activation="relu")(inputs))
    return keras.Model(inputs, k.Dense(3, name="scores")(k.GlobalAveragePooling2D()(x)))


def _write_objects(folder: Path, keras, models, data) -> None:
    """What `load` makes of models in memory; the second has no declared inputs."""

    class Custom(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, inputs):
            return self.dense(inputs) ** 2

    for name, model in {**models, "custom": Custom()}.items():
        read = load(model, example_inputs=data if name == "custom" else None)
        with Oracle(read.ir) as oracle:
            (result,) = oracle.run({oracle.inputs[0]: data}).values()
        about = {"source": str(read.source), "inputs": [str(s) for s in read.signature.inputs]}
        (folder / f"{name}_object.json").write_text(json.dumps(about))
        np.savez(folder / f"{name}_object.npz", expected=np.asarray(model(data)), result=result)


def _write_saved_models(folder: Path, tf) -> None:
    spec = tf.TensorSpec([None, 3], tf.float32)

    class Hostile(tf.Module):
        @tf.function(input_signature=[spec])
        def call(self, x):
            size = tf.strings.length(tf.io.read_file("/etc/passwd"))
            return {"y": tf.py_function(lambda v: v, [x], tf.float32) + tf.cast(size, tf.float32)}

    class Many(tf.Module):
        def __init__(self):
            self.w = tf.Variable(tf.ones([3, 2]))

        @tf.function(input_signature=[spec, tf.TensorSpec([None, 3], tf.float32, name="b10")])
        def call(self, b2, b10):
            return {f"y{i}": (b2 - b10 * i) @ self.w for i in range(11)}

    hostile, many = Hostile(), Many()
    tf.saved_model.save(hostile, str(folder / "hostile"), hostile.call)
    tf.saved_model.save(many, str(folder / "many"), many.call)
    tf.saved_model.save(tf.Module(), str(folder / "unsigned"))


def answer(folder: Path, source: Path) -> None:
    """Read every shared model with the worker's own code, and run it in tf-keras."""
    import tf_keras

    from edgekit.frontends.tf_worker import handle

    for name, (shape, top) in REAL.items():
        path = source / name
        (folder / name).mkdir()
        os.chdir(folder / name)
        kind = "keras" if name.endswith(".h5") else "saved_model"
        job = {"kind": kind, "path": str(path), "label": name, "allow_code": False}
        Path("result.json").write_text(json.dumps(handle(job)))
        data = (np.random.default_rng(0).random(shape) * top).astype(np.float32)
        result = tf_keras.models.load_model(str(path), compile=False)(data, training=False)
        np.savez("answer.npz", data=data, result=np.asarray(result))


def child(what: str, *folders: Path) -> Path:
    command = [sys.executable, "-m", "edgekit.frontends.keras_test", what, *map(str, folders)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return folders[0]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return child("write", tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    return child("answer", tmp_path_factory.mktemp("answers"), shared("mlperf_tiny"))


@pytest.mark.parametrize("name", REAL)
def test_real_models_compute_what_their_framework_computes(answers, name):
    folder = answers / name
    expected = np.load(folder / "answer.npz")
    with Oracle(read_graph(folder / "model.onnx")) as oracle:
        result = oracle.run({oracle.inputs[0]: expected["data"]})[oracle.outputs[0]]
    limit = 1e-5 * np.ptp(expected["result"])
    np.testing.assert_allclose(result, expected["result"], rtol=0, atol=limit)
    notes = json.loads((folder / "result.json").read_text())["notes"]
    needs_keras2 = name in ("mobilenet_v1_vww.h5", "streaming_wakeword.h5")
    assert any("tf-keras" in note for note in notes) == needs_keras2


@pytest.mark.parametrize(("name", "reader"), [("good.keras", "3."), ("legacy.h5", "2.")])
def test_file_is_read_without_importing_tensorflow(files, name, reader):
    before = set(sys.modules)
    model = load(files / name)
    assert not {"tensorflow", "keras", "tf_keras"} & (set(sys.modules) - before)
    assert str(model.signature.inputs[0]) == "image: float32[batch, 6, 6, 3] nhwc"
    assert str(model.signature.outputs[0]) == "scores: float32[batch, 3]"
    assert model.source.frontend == "keras"
    assert model.source.frontend_version.startswith(reader)
    expected = np.load((files / name).with_suffix(".npz"))
    with Oracle(model.ir) as oracle:
        result = oracle.run({"image": expected["data"]})["scores"]
    np.testing.assert_allclose(result, expected["result"], atol=1e-5)


@pytest.mark.parametrize("name", ["good", "legacy", "custom"])
def test_model_in_memory(files, name):
    data = np.load(files / f"{name}_object.npz")
    np.testing.assert_allclose(data["result"], data["expected"], atol=1e-5)
    about = json.loads((files / f"{name}_object.json").read_text())
    assert "frontend='keras'" in about["source"]
    assert "path=None" in about["source"]
    assert about["inputs"][0].endswith("float32[batch, 6, 6, 3] nhwc")


def test_saved_model_of_keras_3(files):
    model = load(files / "exported")
    assert [str(s) for s in model.signature.inputs] == ["image: float32[batch, 6, 6, 3] nhwc"]
    assert model.source.frontend == "saved_model"
    expected = np.load(files / "good.npz")
    with Oracle(model.ir) as oracle:
        result = oracle.run({"image": expected["data"]})[oracle.outputs[0]]
    np.testing.assert_allclose(result, expected["result"], atol=1e-5)


def test_saved_model_names_are_in_a_stable_natural_order(files):
    model = load(files / "many")
    assert [s.name for s in model.signature.inputs] == ["b2", "b10"]
    assert [s.name for s in model.signature.outputs] == [f"y{i}" for i in range(11)]
    feeds = {"b2": np.float32([[1, 2, 3]]), "b10": np.float32([[1, 1, 1]])}
    with Oracle(model.ir) as oracle:
        results = oracle.run(feeds)
    np.testing.assert_allclose(results["y10"], [[-24, -24]])


def test_saved_model_that_does_more_than_compute(files):
    with pytest.raises(UnsupportedError, match="does more than compute") as error:
        load(files / "hostile")
    reasons = {(r.op, r.reason) for r in error.value.reasons}
    assert reasons == {("EagerPyFunc", "runs Python code"), ("ReadFile", "reads or writes files")}


def test_damaged_saved_models(files, tmp_path):
    with pytest.raises(ModelFileError, match="no signature 'serving_default'"):
        load(files / "unsigned")
    folder = tmp_path / "broken"
    shutil.copytree(files / "many", folder)
    shutil.rmtree(folder / "variables")
    with pytest.raises(ModelFileError, match="cannot be loaded by TensorFlow"):
        load(folder)


def test_saved_model_of_garbage(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"garbage" * 9)
    with pytest.raises(ModelFileError, match=r"saved_model\.pb of .* is damaged"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lambda.keras", "holds Python code"),
        ("lambda.h5", "holds Python code"),
        ("only.weights.h5", "weights without the network"),
        ("link.h5", "points to data in another file"),
        ("bomb.h5", "would unpack to"),
    ],
)
def test_refused_before_keras_sees_it(files, name, message):
    with pytest.raises(EdgeKitError, match=message):
        load(files / name)


def test_lambda_is_run_when_allowed(files):
    model = load(files / "lambda.keras", allow_code=True)
    with Oracle(model.ir) as oracle:
        (result,) = oracle.run({"x": np.float32([[1, 2]])}).values()
    np.testing.assert_array_equal(result, [[2, 4]])


def test_reader_that_takes_too_long_is_stopped(files, monkeypatch):
    monkeypatch.setenv("EDGEKIT_READER_TIMEOUT", "0.05")
    with pytest.raises(ModelFileError, match="took longer"):
        load(files / "good.keras")


@pytest.mark.parametrize("name", ["good.keras", "legacy.h5"])
def test_damaged_files_never_raise_anything_else(files, tmp_path, name):
    content = (files / name).read_bytes()
    path = tmp_path / name
    for size in (9, 100, len(content) // 2):
        path.write_bytes(content[:size])
        with pytest.raises(ModelFileError):
            load(path)
    for seed in range(2):
        path.write_bytes(damaged(content, seed))
        try:
            assert load(path).signature.inputs
        except EdgeKitError as e:
            assert str(e)  # noqa: PT017


def test_accepts_by_name_and_content(files):
    frontend = KerasFrontend()
    assert frontend.accepts(files / "good.keras")
    assert frontend.accepts(files / "legacy.h5")
    assert not frontend.accepts(files / "many")
    with pytest.raises(EdgeKitError):
        frontend.read(files / "only.weights.h5", LoadOptions())


if __name__ == "__main__":
    {"write": write, "answer": answer}[sys.argv[1]](*map(Path, sys.argv[2:]))
