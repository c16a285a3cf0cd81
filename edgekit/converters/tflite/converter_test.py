"""What whole graphs become: layout, fused activations, float16, metadata, real models."""

import json
from collections import Counter

import numpy as np
import onnx_ir
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.base import EmitOptions
from edgekit.converters.tflite.converter import TFLiteConverter
from edgekit.converters.tflite.metadata import METADATA_NAME
from edgekit.errors import UnsupportedError
from edgekit.frontends.load import load
from edgekit.ir import Model, Oracle, Preprocessing, Source
from edgekit.passes.canonicalize.pipeline import canonicalize
from edgekit.testing.data import shared
from edgekit.testing.tflite import model_of, operators, run
from edgekit.vocabulary import Layout, Precision

CONVERTER = TFLiteConverter()


def noise(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def emit(model, folder, precision=Precision.FP32):
    emitted = CONVERTER.emit(model, folder, EmitOptions(precision=precision))
    assert emitted.files == (emitted.path,)
    return emitted.path.read_bytes()


def graph(body, inputs, outputs, **constants):
    text = f'<ir_version: 10, opset_import: ["": 21]> g ({inputs}) => ({outputs}) {{ {body} }}'
    return Model(model_of(text, constants), source=Source("case"))


def residual(last="y = Relu(s)", layout="NCHW"):
    """A convolution, a squeeze-and-excite gate and a residual addition."""
    body = f"""
        c = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w, b)
        r = Relu(c)
        m = GlobalAveragePool(r)
        e = Conv<kernel_shape=[1,1]>(m, v)
        g = Sigmoid(e)
        q = Mul(r, g)
        s = Add(q, x)
        {last}
    """
    constants = {"w": noise(0, 4, 4, 3, 3), "b": noise(1, 4), "v": noise(2, 4, 4, 1, 1)}
    given = "float[4,4,3,3] w, float[4] b, float[4,4,1,1] v"
    return graph(body, f"float[N,4,6,6] x, {given}", "float[N,4,6,6] y", **constants)


def outputs_agree(model, content, feeds, tolerance=1e-5):
    with Oracle(model.ir, threads=1) as oracle:
        expected = oracle.run(feeds)
    got = run(content, feeds)
    for name, array in expected.items():
        assert got[name].shape == array.shape
        span = max(float(np.ptp(array)), 1e-6)
        assert np.abs(got[name] - array).max() <= tolerance * span, name


def test_transposes_are_left_at_the_edges_only(tmp_path):
    model = residual()
    content = emit(model, tmp_path)
    ops = operators(content)
    assert ops[0] == ops[-1] == "TRANSPOSE"
    assert Counter(ops) == {
        "TRANSPOSE": 2,
        "CONV_2D": 2,
        "MEAN": 1,
        "LOGISTIC": 1,
        "MUL": 1,
        "ADD": 1,
    }
    outputs_agree(model, content, {"x": noise(3, 2, 4, 6, 6)})


def test_an_activation_read_twice_is_still_fused(tmp_path):
    assert "RELU" not in operators(emit(residual(), tmp_path))


@pytest.mark.parametrize(
    ("bounds", "name"), [((0, 6), "RELU6"), ((-1, 1), "RELU_N1_TO_1"), ((0, None), "RELU")]
)
def test_clips_of_known_bounds_are_fused(tmp_path, bounds, name):
    constants = {"l": np.float32(bounds[0])}
    given, used = "float[2,3] a, float[2,3] b, float l", "l"
    if bounds[1] is not None:
        constants["h"] = np.float32(bounds[1])
        given, used = given + ", float h", "l, h"
    model = graph(f"s = Add(a, b) y = Clip(s, {used})", given, "float[2,3] y", **constants)
    content = emit(model, tmp_path)
    assert operators(content) == ["ADD"]
    options = schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0].operators[0].builtinOptions
    assert options.fusedActivationFunction == getattr(schema.ActivationFunctionType, name)
    outputs_agree(model, content, {"a": 8 * noise(0, 2, 3), "b": noise(1, 2, 3)})


def test_an_inner_value_that_is_an_output_is_not_fused_away(tmp_path):
    model = graph(
        "s = Add(a, b) y = Relu(s)", "float[2,3] a, float[2,3] b", "float[2,3] y, float[2,3] s"
    )
    content = emit(model, tmp_path)
    assert operators(content) == ["ADD", "RELU"]
    outputs_agree(model, content, {"a": noise(0, 2, 3), "b": noise(1, 2, 3)})


def test_a_bias_and_an_activation_move_into_a_product(tmp_path):
    model = graph(
        "p = MatMul(x, w) s = Add(b, p) y = Relu(s)",
        "float[2,3,4] x, float[4,5] w, float[5] b",
        "float[2,3,5] y",
        w=noise(0, 4, 5),
        b=noise(1, 5),
    )
    content = emit(model, tmp_path)
    assert operators(content) == ["FULLY_CONNECTED"]
    outputs_agree(model, content, {"x": noise(2, 2, 3, 4)})


def test_a_product_takes_the_transpose_of_its_right_side(tmp_path):
    model = graph(
        "t = Transpose<perm=[0,2,1]>(b) y = MatMul(a, t)",
        "float[2,3,4] a, float[2,5,4] b",
        "float[2,3,5] y",
    )
    content = emit(model, tmp_path)
    assert operators(content) == ["BATCH_MATMUL"]
    outputs_agree(model, content, {"a": noise(0, 2, 3, 4), "b": noise(1, 2, 5, 4)})


def test_reshapes_around_a_product_are_left_to_it(tmp_path):
    model = graph(
        "r = Reshape(x, s) p = Gemm(r, w) y = Reshape(p, t)",
        "float[2,3,4] x, int64[2] s, float[4,5] w, int64[3] t",
        "float[2,3,5] y",
        s=np.array([6, 4]),
        t=np.array([2, 3, 5]),
        w=noise(0, 4, 5),
    )
    content = emit(model, tmp_path)
    assert operators(content) == ["FULLY_CONNECTED"]
    outputs_agree(model, content, {"x": noise(1, 2, 3, 4)})


def test_a_reduction_drops_its_axes_itself(tmp_path):
    model = graph(
        "m = GlobalAveragePool(x) f = Flatten(m) y = Gemm(f, w)",
        "float[N,4,3,3] x, float[4,5] w",
        "float[N,5] y",
        w=noise(0, 4, 5),
    )
    content = emit(model, tmp_path)
    assert operators(content)[-2:] == ["MEAN", "FULLY_CONNECTED"]
    outputs_agree(model, content, {"x": noise(1, 2, 4, 3, 3)})


def test_flattening_permutes_the_rows_of_the_matrix(tmp_path):
    model = graph(
        """c = Conv<kernel_shape=[1,1]>(x, w)
           f = Flatten(c)
           y = Gemm(f, m)""",
        "float[N,2,3,3] x, float[4,2,1,1] w, float[36,5] m",
        "float[N,5] y",
        w=noise(0, 4, 2, 1, 1),
        m=noise(1, 36, 5),
    )
    content = emit(model, tmp_path)
    assert Counter(operators(content))["TRANSPOSE"] == 1
    outputs_agree(model, content, {"x": noise(2, 3, 2, 3, 3)})


def test_half_halves_the_weights_and_keeps_float_edges(tmp_path):
    constants = {"w": noise(0, 64, 64), "big": np.full((64, 64), 1e6, np.float32)}
    model = graph(
        "p = MatMul(x, w) y = MatMul(p, big)",
        "float[2,64] x, float[64,64] w, float[64,64] big",
        "float[2,64] y",
        **constants,
    )
    full, half = emit(model, tmp_path), emit(model, tmp_path, Precision.FP16)
    assert Counter(operators(half)) == {"DEQUANTIZE": 1, "FULLY_CONNECTED": 2}
    assert len(full) - len(half) > 64 * 64
    x = noise(1, 2, 64)
    got = run(half, {"x": x})["y"]
    assert got.dtype == np.float32
    expected = run(full, {"x": x})["y"]
    np.testing.assert_allclose(got, expected, atol=1e-2 * np.ptp(expected))


def test_metadata_carries_preprocessing_and_layouts(tmp_path):
    preprocessing = Preprocessing(resize=(6, 6), scale=1 / 255)
    model = residual()
    model = Model(model.ir, {"x": Layout.NCHW}, preprocessing, Source("case", sha256="0" * 64))
    content = emit(model, tmp_path)
    file = schema.ModelT.InitFromPackedBuf(content, 0)
    entries = {m.name.decode(): bytes(file.buffers[m.buffer].data) for m in file.metadata}
    document = json.loads(entries[METADATA_NAME])
    assert document["version"] == 1
    assert document["layouts"] == {"x": "nchw"}
    assert Preprocessing.from_json(document["preprocessing"]) == preprocessing
    assert entries["min_runtime_version"].rstrip(b"\0")


def test_every_node_in_the_way_is_named_with_a_reason(tmp_path):
    model = graph(
        'a = Resize<mode="linear", antialias=1>(x, , s) y = Det(a)',
        "float[1,1,4,4] x, float[4] s",
        "float[1,1] y",
        s=np.array([1, 1, 0.5, 0.5], np.float32),
    )
    with pytest.raises(UnsupportedError) as caught:
        emit(model, tmp_path)
    assert [reason.op for reason in caught.value.reasons] == ["Resize", "Det"]
    assert CONVERTER.explain(model) == caught.value.reasons
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "builtin"),
    [
        ("MatMul (x, w)", "FULLY_CONNECTED"),
        ("Concat <axis=0> (x, w)", "CONCATENATION"),
        ("Gather (x, i)", "GATHER"),
        ("Pad (x, p)", "PAD"),
    ],
)
def test_what_has_no_kernel_for_float64_is_refused(tmp_path, line, builtin):
    constants = {
        "w": np.ones((3, 3)),
        "i": np.array([1, 0], np.int64),
        "p": np.array([0, 1, 0, 0], np.int64),
    }
    kinds = {"w": "double[3,3]", "i": "int64[2]", "p": "int64[4]"}
    used = {name: data for name, data in constants.items() if f", {name})" in line}
    operands = "".join(f", {kinds[name]} {name}" for name in used)
    text = f"g (double[2,3] x{operands}) => (double[A,B] y) {{ y = {line} }}"
    model = Model(model_of(f'<ir_version: 10, opset_import: ["" : 21]> {text}', used))
    (reason,) = TFLiteConverter().explain(model)
    assert f"{builtin} has no float64 kernel" in reason.reason
    assert "float32" in reason.hint
    with pytest.raises(UnsupportedError, match="float64"):
        TFLiteConverter().emit(model, tmp_path, EmitOptions())


@pytest.mark.parametrize(
    "line",
    ["Transpose <perm=[1,0]> (x)", "Reshape (x, s)", "Slice (x, a, b)", "Slice (x, a, b, , t)"],
)
def test_what_only_moves_values_takes_float64(tmp_path, line):
    constants = {
        name: np.array([n], np.int64) for name, n in {"s": -1, "a": 0, "b": 2, "t": 2}.items()
    }
    used = {k: v for k, v in constants.items() if f", {k}" in line}
    operands = "".join(f", int64[1] {name}" for name in used)
    out = "A" if "Reshape" in line else "A,B"
    text = f"g (double[4,3] x{operands}) => (double[{out}] y) {{ y = {line} }}"
    model = Model(model_of(f'<ir_version: 10, opset_import: ["" : 21]> {text}', used))
    emitted = TFLiteConverter().emit(model, tmp_path, EmitOptions())
    x = np.arange(12.0).reshape(4, 3)
    with Oracle(model.ir) as oracle:
        expected = oracle.run({"x": x})["y"]
    (got,) = run(emitted.path.read_bytes(), {"x": x}).values()
    np.testing.assert_array_equal(got, expected)


def test_an_operator_of_another_domain_is_not_taken_for_its_namesake(tmp_path):
    model = graph("y = Relu(x)", "float[2] x", "float[2] y")
    model.graph[0].domain = "elsewhere"
    with pytest.raises(UnsupportedError, match="Relu"):
        emit(model, tmp_path)


def test_the_model_is_not_changed(tmp_path):
    model = residual()
    before = onnx_ir.to_proto(model.ir).SerializeToString()
    emit(model, tmp_path)
    assert onnx_ir.to_proto(model.ir).SerializeToString() == before


@pytest.mark.parametrize(
    ("name", "transposes"),
    [
        ("models/resnet20_cifar10.onnx", 1),
        ("models/fastestdet.onnx", 3),
        ("models/dtln_1.onnx", 0),
        ("models/kwt1_transformer.tflite", 0),
        ("mlperf_tiny/resnet8_float.tflite", 0),
        ("mlperf_tiny/mobilenet_v1_vww_float.tflite", 0),
        ("mlperf_tiny/ds_cnn_float.tflite", 0),
        ("mlperf_tiny/autoencoder_toycar_float.tflite", 0),
    ],
)
def test_real_models_agree_with_their_source(tmp_path, name, transposes):
    source = load(shared(name))
    content = emit(canonicalize(source), tmp_path)
    assert operators(content).count("TRANSPOSE") <= transposes
    rng = np.random.default_rng(0)
    feeds = {
        spec.name: rng.random([s if isinstance(s, int) else 2 for s in spec.shape]).astype(
            spec.dtype
        )
        for spec in source.signature.inputs
    }
    outputs_agree(source, content, feeds, tolerance=1e-4)


@pytest.mark.parametrize("name", ["resnet8", "mobilenet_v1_vww", "ds_cnn", "autoencoder_toycar"])
def test_operators_are_those_of_the_official_files(tmp_path, name):
    ours = Counter(
        operators(emit(canonicalize(load(shared(f"mlperf_tiny/{name}_float.tflite"))), tmp_path))
    )
    official = Counter(operators(shared(f"mlperf_tiny/{name}_int8.tflite").read_bytes()))
    # A window over the whole image is a MEAN here, which rescales in INT8; a pool does not.
    official["MEAN"] += official.pop("AVERAGE_POOL_2D", 0)
    assert sum(ours.values()) <= sum(official.values())
    assert not ours - official
