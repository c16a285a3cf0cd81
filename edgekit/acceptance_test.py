"""What must hold on real models: every target computes what the source's own runtime computes."""

from dataclasses import dataclass

import numpy as np
import pytest

import edgekit
from edgekit import registry
from edgekit.ir import Oracle
from edgekit.testing.data import shared

RUNNABLE = ("tflite", "openvino", "onnxruntime")

FILES = {
    "resnet8.h5": "mlperf_tiny/resnet8.h5",
    "resnet8.tflite": "mlperf_tiny/resnet8_float.tflite",
    "ds_cnn.saved_model": "mlperf_tiny/ds_cnn_saved_model",
    "mobilenet_v1_vww.h5": "mlperf_tiny/mobilenet_v1_vww.h5",
    "mobilenet_v1_vww.tflite": "mlperf_tiny/mobilenet_v1_vww_float.tflite",
    "autoencoder_toycar.h5": "mlperf_tiny/autoencoder_toycar.h5",
    "autoencoder_toycar.tflite": "mlperf_tiny/autoencoder_toycar_float.tflite",
    "streaming_wakeword.h5": "mlperf_tiny/streaming_wakeword.h5",
    "resnet20": "models/resnet20_cifar10.onnx",
    "fastestdet": "models/fastestdet.onnx",
    "selfie_segmentation_landscape": "models/selfie_segmentation_landscape.onnx",
    "mnist_lstm": "models/mnist_lstm_float.tflite",
    "kwt1": "models/kwt1_transformer.tflite",
    "recommendation_cnn": "models/recommendation_cnn.tflite",
    "dtln_1.onnx": "models/dtln_1.onnx",
    "dtln_1.tflite": "models/dtln_1.tflite",
}

TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2}
"""Greatest difference as a share of the output's range."""

SAMPLES = 4


def feeds(model):
    """Values between 0 and 1: soft blobs where the input is a picture, noise elsewhere."""
    rng = np.random.default_rng(0)
    for _ in range(SAMPLES):
        batch = {}
        for spec in model.signature.inputs:
            shape = tuple(size if isinstance(size, int) else 1 for size in spec.shape)
            if spec.dtype != "float32":
                batch[spec.name] = rng.integers(1, 15, shape).astype(spec.dtype)
            elif len(shape) == 4:
                batch[spec.name] = blobs(rng, shape)
            else:
                batch[spec.name] = rng.uniform(size=shape).astype(np.float32)
        yield batch


def blobs(rng, shape):
    """Coarse noise, interpolated along every axis that is longer than it."""
    array = rng.uniform(size=[min(size, 8) for size in shape])
    for axis, size in enumerate(shape):
        if size > 8:
            knots, points = np.arange(8), np.linspace(0, 7, size)
            array = np.apply_along_axis(lambda row: np.interp(points, knots, row), axis, array)  # noqa: B023
    return array.astype(np.float32)


def source_outputs(path, model, batches):
    """Outputs of the source's own runtime, in order, for each batch."""
    if path.suffix == ".tflite":
        return [litert_outputs(path, batch) for batch in batches]
    # The ONNX file on ONNX Runtime. The graph read from a Keras file is compared with Keras
    # itself by the tests of that frontend.
    with Oracle(model.ir) as oracle:
        return [list(oracle.run(batch).values()) for batch in batches]


def litert_outputs(path, batch):
    from ai_edge_litert.interpreter import Interpreter

    # A new interpreter each time: some models keep state between calls.
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), batch.values(), strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def worst_share(expected, got):
    """Greatest difference of float outputs as a share of each output's range over all batches."""
    worst = 0.0
    for index, first in enumerate(expected[0]):
        if first.dtype.kind != "f":
            continue
        wanted = np.stack([outputs[index] for outputs in expected]).astype(np.float64)
        found = np.stack([outputs[index] for outputs in got])
        worst = max(worst, float(np.abs(wanted - found).max() / np.ptp(wanted)))
    return worst


@pytest.mark.parametrize("name", FILES)
def test_float_artifacts_compute_what_their_source_does(name, tmp_path):
    path = shared(FILES[name])
    model = edgekit.load(path)
    batches = list(feeds(model))
    expected = source_outputs(path, model, batches)
    for precision, tolerance in TOLERANCE.items():
        out = tmp_path / precision
        bundle = edgekit.convert(model, targets=RUNNABLE, precision=precision, output=out)
        for artifact in bundle.artifacts:
            assert artifact.status == "verified", artifact.notes
            with registry.runtime(artifact.target).open(
                bundle.resolve(artifact.path), trusted=True
            ) as session:
                assert names(session.signature) == names(model.signature)
                got = [list(session.run(batch).values()) for batch in batches]
            share = worst_share(expected, got)
            assert share <= tolerance, f"{artifact.target} {precision}: {share:.2e}"


def names(signature):
    return [s.name for s in signature.inputs], [s.name for s in signature.outputs]


@dataclass(frozen=True)
class Task:
    """A classifier with data to calibrate and to evaluate on."""

    model: str
    calibration: str
    evaluation: str
    normalized: bool = False


TASKS = {
    "resnet8": Task("mlperf_tiny/resnet8.h5", "cifar10_calibration.npz", "cifar10_evaluation.npz"),
    "ds_cnn": Task("mlperf_tiny/ds_cnn_saved_model", "kws_calibration.npz", "kws_evaluation.npz"),
    "resnet20": Task(
        "models/resnet20_cifar10.onnx",
        "cifar10_calibration.npz",
        "cifar10_evaluation.npz",
        normalized=True,
    ),
}

ALLOWED_DROP = 0.005


def images(task, file):
    with np.load(shared(file)) as arrays:
        x, labels = arrays["x"].astype(np.float32), arrays["labels"]
    if task.normalized:
        mean, std = np.array([0.485, 0.456, 0.406], "f"), np.array([0.229, 0.224, 0.225], "f")
        x = np.ascontiguousarray(((x / 255 - mean) / std).transpose(0, 3, 1, 2))
    return x, labels


def top1(bundle, artifact, x, labels):
    with registry.runtime(artifact.target).open(
        bundle.resolve(artifact.path), trusted=True
    ) as session:
        name = session.signature.inputs[0].name
        scores = [
            next(iter(session.run({name: x[i : i + 200]}).values())) for i in range(0, len(x), 200)
        ]
    return float((np.concatenate(scores).argmax(1) == labels).mean())


@pytest.mark.parametrize("name", TASKS)
def test_int8_keeps_the_accuracy(name, tmp_path):
    task = TASKS[name]
    model = edgekit.load(shared(task.model))
    calibration, _ = images(task, task.calibration)
    x, labels = images(task, task.evaluation)
    baseline = edgekit.convert(model, targets="onnxruntime", output=tmp_path / "float")
    floating = top1(baseline, baseline.artifacts[0], x, labels)
    bundle = edgekit.convert(
        model, targets=RUNNABLE, precision="int8", calibration=calibration, output=tmp_path / "int8"
    )
    for artifact in bundle.artifacts:
        assert artifact.status == "verified", artifact.notes
        drop = floating - top1(bundle, artifact, x, labels)
        assert drop <= ALLOWED_DROP, f"{artifact.target}: {drop:.2%}"


OFFICIAL = {
    "mlperf_tiny/resnet8.h5": "resnet8",
    "mlperf_tiny/ds_cnn_saved_model": "ds_cnn",
    "mlperf_tiny/mobilenet_v1_vww.h5": "mobilenet_v1_vww",
    "mlperf_tiny/autoencoder_toycar.h5": "autoencoder_toycar",
    "mlperf_tiny/streaming_wakeword.h5": "streaming_wakeword",
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_integer_files_have_no_more_operators_than_the_official_ones(name, tmp_path):
    from ai_edge_litert.schema_py_generated import ModelT, TensorType

    from edgekit.testing.tflite import operators

    official = shared(f"mlperf_tiny/{OFFICIAL[name]}_int8.tflite").read_bytes()
    model = edgekit.load(shared(name))
    (spec,) = model.signature.inputs
    samples = np.random.default_rng(0).normal(size=(16, *spec.shape[1:])).astype(np.float32)
    bundle = edgekit.convert(
        model,
        targets="tflite",
        precision="int8",
        io="int8",
        calibration=samples,
        output=tmp_path / "o",
    )
    (artifact,) = bundle.artifacts
    content = bundle.resolve(artifact.path).read_bytes()
    mine = operators(content)
    assert len(mine) <= len(operators(official))
    assert "TRANSPOSE" not in mine
    tensors = ModelT.InitFromPackedBuf(content, 0).subgraphs[0].tensors
    assert TensorType.FLOAT32 not in {tensor.type for tensor in tensors}
    assert artifact.float_nodes == ()
