"""Whole models in INT8, against the official converter's files and against float."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edgekit.calibration import calibrate
from edgekit.converters.base import EmitOptions
from edgekit.converters.tflite.converter import TFLiteConverter
from edgekit.converters.tflite.legal import LEGAL
from edgekit.frontends.base import LoadOptions
from edgekit.frontends.onnx import OnnxFrontend
from edgekit.frontends.tflite.frontend import TFLiteFrontend
from edgekit.ir import Oracle
from edgekit.passes.canonicalize.pipeline import canonicalize
from edgekit.passes.quantize.apply import apply
from edgekit.passes.quantize.decide import decide, wanted_tensors
from edgekit.passes.quantize.io import quantized_io
from edgekit.testing.data import shared
from edgekit.testing.graphs import GraphBuilder
from edgekit.testing.tflite import operators
from edgekit.vocabulary import IoType, Precision


def quantized_graph(model, samples, folder):
    """A canonical model with the Q/DQ pairs of a calibration."""
    np.savez(folder / "calibration.npz", x=samples)
    ranges = calibrate(
        model, folder / "calibration.npz", tensors=sorted(wanted_tensors(model, LEGAL))
    )
    return apply(model, decide(model, ranges, LEGAL))


def emit_int8(model, samples, folder, io=IoType.FLOAT):
    """The INT8 file of a canonical model."""
    graph = quantized_graph(model, samples, folder)
    if io is IoType.INT8:
        graph, _ = quantized_io(graph)
    options = EmitOptions(Precision.INT8, io)
    return TFLiteConverter().emit(graph, folder, options)


def float_operators(content):
    graph = schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0]
    real = {i for i, t in enumerate(graph.tensors) if t.type == schema.TensorType.FLOAT32}
    return [op for op in graph.operators if real & {*op.inputs, *op.outputs}]


@pytest.mark.parametrize("name", ["resnet8", "ds_cnn", "mobilenet_v1_vww", "autoencoder_toycar"])
def test_no_more_operators_than_the_official_file(name, tmp_path):
    source = TFLiteFrontend().read(shared(f"mlperf_tiny/{name}_float.tflite"), LoadOptions())
    model = canonicalize(source)
    (spec,) = model.signature.inputs
    shape = [size if isinstance(size, int) else 1 for size in spec.shape]
    samples = np.random.default_rng(0).random((16, *shape[1:])).astype(np.float32)
    content = emit_int8(model, samples, tmp_path, IoType.INT8).path.read_bytes()
    official = operators(shared(f"mlperf_tiny/{name}_int8.tflite").read_bytes())
    ours = operators(content)
    assert len(ours) <= len(official)
    assert "TRANSPOSE" not in ours
    assert float_operators(content) == []


def _hard_sigmoid(b, x):
    return b.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)


def _spelled_out(b, x):
    return b.op("Div", b.op("Clip", b.op("Add", x, 3.0), 0.0, 6.0), 6.0)


def _squeeze_and_excite(gate):
    """A block of MobileNetV3, then heads of operators that an integer-only device needs."""
    rng, b = np.random.default_rng(5), GraphBuilder()
    x = b.input("x", ("N", 3, 8, 8))
    x = b.op("HardSwish", b.op("Conv", x, rng.normal(size=(8, 3, 3, 3)) / 3, rng.normal(size=8)))
    small = b.op("Conv", b.op("GlobalAveragePool", x), rng.normal(size=(4, 8, 1, 1)))
    wide = b.op("Conv", b.op("Relu", small), rng.normal(size=(8, 4, 1, 1)), rng.normal(size=8))
    x = b.op("Mul", x, gate(b, wide))
    flat = b.op("Flatten", b.op("GlobalMaxPool", b.op("Neg", x)))
    return b.build(x, b.op("LpNormalization", flat, axis=-1, p=2))


@pytest.mark.parametrize("gate", [_hard_sigmoid, _spelled_out])
def test_gates_of_mobilenet_v3_are_integer(gate, tmp_path):
    model = canonicalize(_squeeze_and_excite(gate))
    samples = np.random.default_rng(0).normal(size=(32, 3, 8, 8)).astype(np.float32)
    emitted = emit_int8(model, samples, tmp_path, IoType.INT8)
    content = emitted.path.read_bytes()
    assert emitted.float_nodes == ()
    assert float_operators(content) == []
    assert {"L2_NORMALIZATION", "REDUCE_MAX", "SUB"} <= set(operators(content))
    real = emit_int8(model, samples, tmp_path).path
    with Oracle(quantized_graph(model, samples, tmp_path).ir, exact=True) as oracle:
        expected = oracle.run({"x": samples})
    got = Interpreter(model_path=str(real), num_threads=1).get_signature_runner()(x=samples)
    for name, values in expected.items():
        steps = np.diff(np.unique(values))
        np.testing.assert_allclose(got[name], values, rtol=0, atol=1.01 * steps.min())


def test_resnet20_keeps_its_accuracy(tmp_path):
    model = canonicalize(OnnxFrontend().read(shared("models/resnet20_cifar10.onnx"), LoadOptions()))
    images, _ = _cifar("calibration", 128)
    emitted = emit_int8(model, images, tmp_path)
    assert emitted.float_nodes == ()
    images, labels = _cifar("evaluation", 1000)
    (name,) = (spec.name for spec in model.signature.inputs)
    with Oracle(model.ir, threads=1) as oracle:
        (real,) = oracle.run({name: images}).values()
    runner = Interpreter(model_path=str(emitted.path), num_threads=1).get_signature_runner()
    (integer,) = runner(**{name: images}).values()
    drop = np.mean(real.argmax(1) == labels) - np.mean(integer.argmax(1) == labels)
    assert drop <= 0.005


def _cifar(part, count):
    """Images as the model was trained on them, and labels."""
    with np.load(shared(f"cifar10_{part}.npz")) as arrays:
        pixels = next(arrays[key] for key in arrays.files if key != "labels")[:count]
        labels = arrays["labels"][:count].reshape(-1)
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    scaled = (pixels.astype(np.float32) / 255 - mean) / std
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)), labels
