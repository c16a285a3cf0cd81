"""TFLite files written here by hand, opened on the real interpreter."""

import random
from contextlib import suppress

import numpy as np
import pytest

from edgekit.errors import DataError, InputError, MissingDependencyError
from edgekit.packages import TFLITE_INTERPRETERS, version_of
from edgekit.runtimes import tflite
from edgekit.runtimes.base import Availability
from edgekit.runtimes.tflite import TFLiteRuntime
from edgekit.runtimes.trial import try_in_child
from edgekit.testing.data import shared

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


def tensor(name, shape, dtype, buffer=0, signature=None, scale=None):
    t = schema.TensorT()
    t.name, t.shape, t.type, t.buffer = name, shape, dtype, buffer
    t.shapeSignature = signature
    if scale is not None:
        t.quantization = schema.QuantizationParametersT()
        t.quantization.scale, t.quantization.zeroPoint = [scale], [0]
    return t


def operator(code, inputs, outputs, kind=0, options=None):
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = code, inputs, outputs
    op.builtinOptionsType, op.builtinOptions = kind, options
    return op


def pack(tensors, operators, codes, inputs, outputs, buffers=(), signature=None):
    import flatbuffers

    graph = schema.SubGraphT()
    graph.tensors, graph.operators = tensors, operators
    graph.inputs, graph.outputs, graph.name = inputs, outputs, "main"
    model = schema.ModelT()
    model.version, model.subgraphs, model.signatureDefs = 3, [graph], signature
    model.operatorCodes = []
    for code in codes:
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = 1
        model.operatorCodes.append(entry)
    model.buffers = [schema.BufferT()]
    for content in buffers:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(content.tobytes(), np.uint8)
        model.buffers.append(buffer)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def signature_of(inputs, outputs):
    def maps(names):
        entries = []
        for name, index in names.items():
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, index
            entries.append(entry)
        return entries

    signature = schema.SignatureDefT()
    signature.signatureKey = "serving_default"
    signature.inputs, signature.outputs = maps(inputs), maps(outputs)
    signature.subgraphIndex = 0
    return [signature]


def subtraction(signature=None):
    """`b - a` of two inputs whose free axis is the first; the subgraph has `b` first."""
    f32 = schema.TensorType.FLOAT32
    tensors = [
        tensor("b_tensor", [1, 3], f32, signature=[-1, 3]),
        tensor("a_tensor", [1, 3], f32, signature=[-1, 3]),
        tensor("y_tensor", [1, 3], f32, signature=[-1, 3]),
    ]
    options = schema.SubOptionsT()
    op = operator(0, [0, 1], [2], schema.BuiltinOptions.SubOptions, options)
    return pack(tensors, [op], [schema.BuiltinOperator.SUB], [0, 1], [2], signature=signature)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.tflite"


def test_names_come_from_the_signature_and_order_from_the_subgraph(path):
    path.write_bytes(subtraction(signature_of({"a": 1, "b": 0}, {"difference": 2})))
    with TFLiteRuntime().open(path, trusted=True) as session:
        assert [s.name for s in session.signature.inputs] == ["b", "a"]
        assert [s.name for s in session.signature.outputs] == ["difference"]
        assert session.signature.inputs[0].shape == ("batch", 3)
        out = session.run(
            {"a": np.full((1, 3), 1, np.float32), "b": np.full((1, 3), 5, np.float32)}
        )
    np.testing.assert_array_equal(out["difference"], np.full((1, 3), 4, np.float32))


def test_names_come_from_the_tensors_without_a_signature(path):
    path.write_bytes(subtraction())
    with TFLiteRuntime().open(path, trusted=True) as session:
        assert [s.name for s in session.signature.inputs] == ["b_tensor", "a_tensor"]


def test_a_free_batch_takes_any_size_again_and_again(path):
    path.write_bytes(subtraction())
    rng = np.random.default_rng(0)
    with TFLiteRuntime().open(path, trusted=True, threads=1) as session:
        for batch in (1, 5, 2, 5):
            a, b = rng.normal(size=(2, batch, 3)).astype(np.float32)
            out = session.run({"a_tensor": a, "b_tensor": b})["y_tensor"]
            np.testing.assert_array_equal(out, b - a)


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({"a_tensor": np.zeros((1, 3), np.float32)}, "'b_tensor' is missing"),
        (
            {"a_tensor": np.zeros((1, 3)), "b_tensor": np.zeros((1, 3), np.float32)},
            "is float64, the artifact takes float32",
        ),
        (
            {"a_tensor": np.zeros((1, 4), np.float32), "b_tensor": np.zeros((1, 3), np.float32)},
            r"shape \[1, 4\]",
        ),
    ],
)
def test_feeds_that_do_not_fit_are_refused(path, feeds, words):
    path.write_bytes(subtraction())
    with TFLiteRuntime().open(path, trusted=True) as session, pytest.raises(DataError, match=words):
        session.run(feeds)


def test_a_fault_at_run_time_is_an_input_error_in_the_runtimes_words(path):
    path.write_bytes(subtraction())
    feeds = {"a_tensor": np.zeros((2, 3), np.float32), "b_tensor": np.zeros((3, 3), np.float32)}
    with (
        TFLiteRuntime().open(path, trusted=True) as session,
        pytest.raises(InputError, match=r"tflite runtime fails on 'model.tflite': .*prepare"),
    ):
        session.run(feeds)


def test_a_session_works_on_after_a_fault(path):
    path.write_bytes(subtraction())
    wrong = {"a_tensor": np.zeros((2, 3), np.float32), "b_tensor": np.zeros((3, 3), np.float32)}
    right = {"a_tensor": np.zeros((2, 3), np.float32), "b_tensor": np.ones((2, 3), np.float32)}
    with TFLiteRuntime().open(path, trusted=True) as session:
        with pytest.raises(InputError):
            session.run(wrong)
        np.testing.assert_array_equal(session.run(right)["y_tensor"], np.ones((2, 3)))


def test_int8_inputs_and_outputs_stay_int8(path):
    i8 = schema.TensorType.INT8
    tensors = [tensor("x", [1, 4], i8, scale=0.5), tensor("y", [1, 4], i8, scale=0.5)]
    op = operator(0, [0], [1])
    path.write_bytes(pack(tensors, [op], [schema.BuiltinOperator.RELU], [0], [1]))
    with TFLiteRuntime().open(path, trusted=True) as session:
        assert session.signature.inputs[0].dtype == session.signature.outputs[0].dtype == "int8"
        out = session.run({"x": np.array([[-3, 0, 2, 127]], np.int8)})
    np.testing.assert_array_equal(out["y"], [[0, 0, 2, 127]])


def split_into_nothing():
    """A split into zero parts with one output, on which LiteRT's kernel reads past an array."""
    f32, i32 = schema.TensorType.FLOAT32, schema.TensorType.INT32
    tensors = [tensor("axis", [], i32, 1), tensor("x", [1, 4], f32), tensor("y", [1, 4], f32)]
    op = operator(0, [0, 1], [2], schema.BuiltinOptions.SplitOptions, schema.SplitOptionsT())
    axis = np.array(1, np.int32)
    return pack(tensors, [op], [schema.BuiltinOperator.SPLIT], [1], [2], [axis])


def test_a_file_that_crashes_the_interpreter_does_not_crash_us(path):
    path.write_bytes(split_into_nothing())
    with pytest.raises(InputError, match=r"tflite crashes \(SIG\w+\) on 'model.tflite'"):
        TFLiteRuntime().open(path)


def test_a_file_that_hangs_the_interpreter_does_not_hang_us(path):
    path.write_bytes(subtraction())
    with pytest.raises(InputError, match=r"does not finish within 0.01 s on 'model.tflite'"):
        try_in_child("tflite", path, timeout=0.01)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0" * 100, subtraction()[:150]])
def test_damaged_files_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.tflite"):
        TFLiteRuntime().open(path)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_open_or_are_refused(path, seed):
    rng = random.Random(seed)
    content = bytearray(subtraction(signature_of({"a": 1, "b": 0}, {"difference": 2})))
    for _ in range(6):
        content[rng.randrange(8, len(content))] = rng.randrange(256)
    path.write_bytes(content)
    with suppress(InputError):
        session = TFLiteRuntime().open(path, threads=1)
        assert session.signature.inputs


def test_an_old_file_is_refused_with_the_runtimes_reason():
    with pytest.raises(InputError, match="quantized_dimension must be in range"):
        TFLiteRuntime().open(shared("models/rejected_person_detect.tflite"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no file '.*nowhere\.tflite'"):
        TFLiteRuntime().open(tmp_path / "nowhere.tflite")


def test_a_missing_package_names_the_extra(path, monkeypatch):
    monkeypatch.setattr(tflite, "tflite_interpreter", lambda: ("", ""))
    assert TFLiteRuntime().probe() == Availability(
        False, False, "", "no TFLite interpreter is installed", "tflite"
    )
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgekit\[tflite\]'"):
        TFLiteRuntime().open(path)


def test_the_probe_names_the_package_that_serves():
    found = TFLiteRuntime().probe()
    assert found.installed
    first = next(name for name in TFLITE_INTERPRETERS if version_of(name))
    assert (found.version, found.detail) == (version_of(first), f"served by {first}")


def test_a_file_whose_smallest_size_is_too_small(tmp_path):
    import onnx_ir

    from edgekit.converters.base import EmitOptions
    from edgekit.converters.tflite.converter import TFLiteConverter
    from edgekit.ir import Model
    from edgekit.passes.canonicalize.pipeline import canonicalize
    from edgekit.vocabulary import IoType, Precision

    text = """<ir_version: 9, opset_import: ["" : 18]>
    g (float[1,1,H,W] x) => (float[1,1,h,w] y) { y = AveragePool <kernel_shape=[3,3]> (x) }"""
    graph = canonicalize(Model(onnx_ir.from_onnx_text(text)))
    emitted = TFLiteConverter().emit(graph, tmp_path, EmitOptions(Precision.FP32, IoType.FLOAT))
    with TFLiteRuntime().open(emitted.path, trusted=True) as session:
        name, result = session.signature.inputs[0].name, session.signature.outputs[0].name
        for size in (5, 9):
            values = session.run({name: np.ones((1, 1, size, size), np.float32)})[result]
            assert np.array_equal(values, np.ones((1, 1, size - 2, size - 2), np.float32))
