"""The TFLite frontend: contract at the edges, real models, and files that cannot be read."""

from __future__ import annotations

import numpy as np
import pytest
from flatbuffers import flexbuffers

from edgekit.errors import EdgeKitError, ModelFileError, UnsupportedError
from edgekit.frontends.base import LoadOptions
from edgekit.frontends.tflite.frontend import TFLiteFrontend
from edgekit.ir import Oracle
from edgekit.registry import frontend
from edgekit.testing.data import shared
from edgekit.testing.tiny_tflite import Scale, TinyModel, run_interpreter
from edgekit.vocabulary import Layout


def read(path):
    return TFLiteFrontend().read(path, LoadOptions())


def read_bytes(data, folder, name="tiny.tflite"):
    path = folder / name
    path.write_bytes(data)
    return read(path)


def feeds_for(model, seed=0):
    """Random arrays in the natural range of each input."""
    rng = np.random.default_rng(seed)
    arrays = []
    for spec in model.signature.inputs:
        shape = [n if isinstance(n, int) else 1 for n in spec.shape]
        if spec.dtype == "float32":
            arrays.append(rng.uniform(0, 1, shape).astype(np.float32))
        elif spec.dtype == "int32":
            arrays.append(rng.integers(0, 16, shape).astype(np.int32))
        else:
            bounds = np.iinfo(spec.dtype)
            arrays.append(rng.integers(bounds.min, bounds.max + 1, shape).astype(spec.dtype))
    return arrays


def run(model, arrays):
    names = [spec.name for spec in model.signature.inputs]
    with Oracle(model.ir, exact=True, threads=1) as oracle:
        return list(oracle.run(dict(zip(names, arrays, strict=True))).values())


FLOAT_MODELS = [
    "mlperf_tiny/autoencoder_toycar_float.tflite",
    "mlperf_tiny/mobilenet_v1_vww_float.tflite",
    "mlperf_tiny/resnet8_float.tflite",
    "models/dtln_1.tflite",
    "models/kwt1_transformer.tflite",
    "models/mnist_lstm_float.tflite",
    "models/recommendation_cnn.tflite",
    "models/selfie_segmentation.tflite",
]
INT8_MODELS = [
    "mlperf_tiny/autoencoder_toycar_int8.tflite",
    "mlperf_tiny/ds_cnn_int8.tflite",
    "mlperf_tiny/mobilenet_v1_vww_int8.tflite",
    "mlperf_tiny/resnet8_int8.tflite",
    "mlperf_tiny/streaming_wakeword_int8.tflite",
    "models/mnist_lstm_int8.tflite",
]


@pytest.mark.parametrize("name", FLOAT_MODELS)
def test_float_models_compute_what_the_interpreter_computes(name):
    path = shared(name)
    model = read(path)
    arrays = feeds_for(model)
    # Only the delegate knows the custom operator of the segmentation model.
    wanted = run_interpreter(path.read_bytes(), arrays, delegate="selfie" in name)
    for ours, theirs in zip(run(model, arrays), wanted, strict=True):
        assert ours.dtype == theirs.dtype
        room = 1e-5 * max(float(np.ptp(theirs)), 1e-3)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=room)


@pytest.mark.parametrize("name", INT8_MODELS)
@pytest.mark.parametrize("seed", [0, 1])
def test_int8_models_compute_what_the_interpreter_computes(name, seed):
    """The default delegate rounds as ONNX does; the builtin kernels round in two steps."""
    path = shared(name)
    model = read(path)
    arrays = feeds_for(model, seed)
    wanted = run_interpreter(path.read_bytes(), arrays, delegate=True)
    for ours, theirs in zip(run(model, arrays), wanted, strict=True):
        assert ours.dtype == theirs.dtype == np.int8
        np.testing.assert_allclose(ours.astype(int), theirs.astype(int), rtol=0, atol=2)


def test_8_bit_weights_of_a_float_model_are_read_as_what_they_stand_for():
    """The interpreter also rounds activations to 8 bits, hence the wide tolerance."""
    path = shared("mlperf_tiny/ds_cnn_float.tflite")
    model = read(path)
    samples = np.load(shared("kws_evaluation.npz"))
    data = next(samples[k] for k in samples.files if k != "labels")[:32]
    ours = np.concatenate([run(model, [x[None]])[0] for x in data])
    theirs = np.concatenate([run_interpreter(path.read_bytes(), [x[None]])[0] for x in data])
    assert np.mean(ours.argmax(1) == theirs.argmax(1)) >= 30 / 32
    np.testing.assert_allclose(ours, theirs, atol=0.1)
    assert any("8 bits" in note for note in model.source.notes)


def test_the_file_that_the_runtime_refuses_is_refused_with_the_reason():
    path = shared("models/rejected_person_detect.tflite")
    with pytest.raises(ModelFileError, match="quantized along axis 3, but it has only 1 axis") as e:
        read(path)
    assert path.name in e.value.message
    assert "convert the original model again" in e.value.hint


def test_registry_finds_it_and_it_knows_its_files(tmp_path):
    found = frontend("tflite")
    assert isinstance(found, TFLiteFrontend)
    (tmp_path / "model.bin").write_bytes(b"\x18\x00\x00\x00TFL3 and more")
    (tmp_path / "other.bin").write_bytes(b"something else")
    assert found.accepts(tmp_path / "model.bin")
    assert not found.accepts(tmp_path / "other.bin")
    assert found.accepts(tmp_path / "absent.tflite")


def image_model(**details):
    tiny = TinyModel()
    x = tiny.input((1, 6, 5, 3), name="serving_default_picture:0", **details)
    w = tiny.constant(np.ones((2, 3, 3, 3), np.float32))
    b = tiny.constant(np.zeros(2, np.float32), name="features")
    y = tiny.tensor((1, 6, 5, 2), name="StatefulPartitionedCall:0", **details)
    tiny.op("CONV_2D", [x, w, b], [y], {"strideH": 1, "strideW": 1}, options_kind="Conv2DOptions")
    tiny.output(y)
    return tiny, x, y


def test_names_are_those_of_the_signature(tmp_path):
    """Also where an inner tensor has the name of an output already."""
    tiny, x, y = image_model()
    tiny.signature({"picture": x}, {"features": y})
    signature = read_bytes(tiny.pack(), tmp_path).signature
    assert [s.name for s in signature.inputs] == ["picture"]
    assert [s.name for s in signature.outputs] == ["features"]


def test_an_output_listed_twice_has_both_its_names(tmp_path):
    tiny, x, y = image_model()
    tiny.output(y)
    tiny.signature({"picture": x}, {"first": y, "second": y})
    signature = read_bytes(tiny.pack(), tmp_path).signature
    assert [s.name for s in signature.outputs] == ["first", "second"]


def test_names_are_those_of_the_tensors_without_a_signature(tmp_path):
    model = read_bytes(image_model()[0].pack(), tmp_path)
    assert [s.name for s in model.signature.inputs] == ["serving_default_picture:0"]
    assert [s.name for s in model.signature.outputs] == ["StatefulPartitionedCall:0"]
    assert (model.source.name, model.source.path, model.source.frontend) == (
        "tiny",
        "tiny.tflite",
        "tflite",
    )
    assert len(model.source.sha256) == 64


def test_images_are_marked_channels_last_and_other_4d_tensors_are_not(tmp_path):
    tiny, _, _ = image_model()
    state = tiny.input((1, 2, 8, 2), name="state")
    doubled = tiny.tensor((1, 2, 8, 2), name="next_state")
    tiny.op("ADD", [state, state], [doubled], options_kind="AddOptions")
    tiny.output(doubled)
    signature = read_bytes(tiny.pack(), tmp_path).signature
    assert [s.layout for s in signature.inputs] == [Layout.NHWC, None]
    assert [s.layout for s in signature.outputs] == [Layout.NHWC, None]


def test_an_open_batch_stays_symbolic_and_runs(tmp_path):
    tiny, _, _ = image_model(open_axes=[0])
    data = tiny.pack()
    model = read_bytes(data, tmp_path)
    assert model.signature.dynamic_batch
    assert model.signature.outputs[0].shape == ("batch", 6, 5, 2)
    feed = np.random.default_rng(0).uniform(size=(3, 6, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(run(model, [feed])[0], run_interpreter(data, [feed])[0], rtol=1e-5)


def test_open_spatial_sizes_pad_at_run_time(tmp_path):
    tiny, _, _ = image_model(open_axes=[1, 2])
    data = tiny.pack()
    model = read_bytes(data, tmp_path)
    feed = np.random.default_rng(0).uniform(size=(1, 8, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(run(model, [feed])[0], run_interpreter(data, [feed])[0], rtol=1e-5)


def test_an_input_may_be_an_output_and_an_output_may_be_listed_twice(tmp_path):
    tiny = TinyModel()
    x, y = tiny.input((2, 3)), tiny.tensor((2, 3))
    tiny.op("NEG", [x], [y])
    tiny.output(y, x, y)
    feed = np.ones((2, 3), np.float32)
    outputs = run(read_bytes(tiny.pack(), tmp_path), [feed])
    np.testing.assert_array_equal(outputs, [-feed, feed, -feed])


def test_a_quantized_input_keeps_its_integers(tmp_path):
    tiny = TinyModel()
    x = tiny.input((2, 3), "UINT8", scale=Scale(0.5, 10))
    y = tiny.tensor((2, 3), "UINT8", scale=Scale(0.25, 4))
    tiny.op("QUANTIZE", [x], [y])
    tiny.output(y)
    model = read_bytes(tiny.pack(), tmp_path)
    assert [s.dtype for s in model.signature.inputs] == ["uint8"]
    assert [node.op_type for node in model.graph] == ["DequantizeLinear", "QuantizeLinear"]


def test_every_operator_in_the_way_has_a_reason(tmp_path):
    """One error lists them all, with what to do."""
    tiny = TinyModel()
    x = tiny.input((2, 3))
    a, b, c, d = (tiny.tensor((2, 3), name=n) for n in "abcd")
    tiny.op("FlexErf", [x], [a])
    tiny.op("NEG", [a], [b])
    tiny.op(
        "WHILE",
        [b],
        [c],
        {"condSubgraphIndex": 0, "bodySubgraphIndex": 0},
        options_kind="WhileOptions",
    )
    tiny.op("RFFT2D", [c], [d])
    tiny.output(d)
    with pytest.raises(UnsupportedError) as error:
        read_bytes(tiny.pack(), tmp_path)
    assert [(r.node, r.op) for r in error.value.reasons] == [
        ("a", "FlexErf"),
        ("c", "WHILE"),
        ("d", "RFFT2D"),
    ]
    assert all(r.reason and r.hint for r in error.value.reasons)


def composite(index):
    tiny = TinyModel()
    x, y = tiny.input((2, 3)), tiny.tensor((2, 3))
    factor = tiny.constant(np.float32(3))
    options = {
        "name": "triple",
        "decompositionSubgraphIndex": index,
        "compositeAttributes": np.frombuffer(bytes(flexbuffers.Dumps({})), np.uint8),
    }
    kind = "StableHLOCompositeOptions"
    tiny.op("STABLEHLO_COMPOSITE", [x, factor], [y], options, options_kind=kind)
    tiny.output(y)
    inner = TinyModel(tiny)
    a, b, c = inner.input((2, 3)), inner.input(()), inner.tensor((2, 3))
    inner.op("MUL", [a, b], [c], options_kind="MulOptions")
    inner.output(c)
    return tiny.pack()


def test_a_composite_is_read_as_its_decomposition(tmp_path):
    data = composite(1)
    feed = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert [node.op_type for node in read_bytes(data, tmp_path).graph] == ["Mul"]
    ours, theirs = run(read_bytes(data, tmp_path), [feed]), run_interpreter(data, [feed])
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("index", [0, 7])
def test_a_composite_of_itself_or_of_nothing_is_a_file_error(tmp_path, index):
    with pytest.raises(ModelFileError):
        read_bytes(composite(index), tmp_path)


def test_text_inputs_have_a_reason(tmp_path):
    tiny = TinyModel()
    x, y = tiny.input((2,), "STRING"), tiny.tensor((2,), "STRING")
    tiny.op("RESHAPE", [x, tiny.constant(np.array([2], np.int32))], [y])
    tiny.output(y)
    with pytest.raises(UnsupportedError, match="STRING"):
        read_bytes(tiny.pack(), tmp_path)


def test_a_missing_file_is_a_file_error(tmp_path):
    with pytest.raises(ModelFileError, match=r"absent\.tflite"):
        read(tmp_path / "absent.tflite")


@pytest.mark.parametrize(
    "data", [b"", b"\x08\x00\x00\x00TFL3", b"x" * 4096, b"\xff" * 4 + b"TFL3" * 9]
)
def test_what_is_not_a_model_is_a_file_error(tmp_path, data):
    with pytest.raises(ModelFileError):
        read_bytes(data, tmp_path)


def mutated(data, seed):
    """Cut off, or with a few bytes or words replaced, mostly where the structure is."""
    rng = np.random.default_rng(seed)
    changed = bytearray(data)
    if seed % 4 == 0:
        return bytes(changed[: rng.integers(len(changed))])
    for _ in range(rng.integers(1, 8)):
        reach = len(changed) if seed % 4 == 1 else min(len(changed), 30_000)
        place = len(changed) - 1 - int(rng.integers(reach))
        if seed % 4 == 3:
            place -= place % 4
            word = int(rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 0x7FFF, 0xFFFF0000]))
            changed[place : place + 4] = word.to_bytes(4, "little")
        else:
            changed[place] = int(rng.integers(256))
    return bytes(changed)


@pytest.mark.parametrize(
    "name",
    [
        "mlperf_tiny/resnet8_int8.tflite",
        "models/mnist_lstm_int8.tflite",
        "models/recommendation_cnn.tflite",
        "models/selfie_segmentation.tflite",
    ],
)
@pytest.mark.timeout(60)
def test_damaged_files_end_in_an_error_of_ours_or_are_read(name, tmp_path):
    data = shared(name).read_bytes()
    refused = 0
    for seed in range(80):
        try:
            read_bytes(mutated(data, seed), tmp_path)
        except EdgeKitError:
            refused += 1
    assert refused > 20
