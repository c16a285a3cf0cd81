"""The three converters that start from ONNX, on their runtimes, against the float graph."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import onnx_ir
import pytest

from edgekit import registry
from edgekit.converters import onnx_file
from edgekit.converters.base import EmitOptions
from edgekit.converters.onnxruntime.converter import OnnxRuntimeConverter
from edgekit.converters.openvino.converter import OpenVINOConverter
from edgekit.converters.tensorrt.build import without_noise
from edgekit.converters.tensorrt.converter import TensorRTConverter
from edgekit.errors import UnsupportedError
from edgekit.ir import Model, Oracle, Source
from edgekit.packages import version_of
from edgekit.passes.canonicalize.pipeline import canonicalize
from edgekit.testing.data import shared
from edgekit.testing.tflite import model_of
from edgekit.vocabulary import Precision

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
CONVERTERS = {
    "onnxruntime": OnnxRuntimeConverter,
    "openvino": OpenVINOConverter,
    "tensorrt": lambda: TensorRTConverter(rtx=False),
}
LIMITS = {Precision.FP32: 1e-4, Precision.FP16: 1e-2}
needs_rtx = pytest.mark.skipif(not version_of("tensorrt-rtx"), reason="needs tensorrt-rtx")


def as_model(text, constants=None, name="net"):
    return Model(model_of(HEAD + text, constants), source=Source(name))


def emit(target, model, folder, precision=Precision.FP32):
    return CONVERTERS[target]().emit(model, folder, EmitOptions(precision))


def run(target, emitted, feeds):
    # What is emitted for TensorRT is ONNX; its meaning can be checked without a GPU.
    runtime = "onnxruntime" if target == "tensorrt" else target
    with registry.runtime(runtime).open(emitted.path, threads=1, trusted=True) as session:
        return session.run(feeds), session.signature


def distance(got, expected):
    """Largest difference, relative to the range of the output (of at least a thousandth)."""
    span = max(float(np.ptp(expected)), 1e-3)
    return float(np.abs(got.astype(np.float64) - expected).max()) / span


MODELS = ("resnet20_cifar10", "fastestdet", "selfie_segmentation_landscape", "dtln_1")


def feeds_for(model, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {
        spec.name: [d if isinstance(d, int) else 2 for d in spec.shape]
        for spec in model.signature.inputs
    }
    return {name: rng.uniform(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module", params=MODELS)
def real(request):
    ir = onnx_ir.load(shared(f"models/{request.param}.onnx"))
    model = canonicalize(Model(ir, source=Source(request.param)))
    feeds = feeds_for(model)
    with Oracle(model.ir, threads=1) as oracle:
        return model, feeds, oracle.run(feeds)


@pytest.mark.parametrize("target", CONVERTERS)
@pytest.mark.parametrize("precision", LIMITS, ids=str)
def test_real_models_stay_near_the_float_graph(real, target, precision, tmp_path):
    model, feeds, expected = real
    if (model.name, precision, target) == ("fastestdet", Precision.FP16, "tensorrt"):
        pytest.skip("float16 arithmetic is checked on TensorRT itself")
    emitted = emit(target, model, tmp_path, precision)
    assert all(f.is_file() and f.parent == tmp_path for f in emitted.files)
    got, signature = run(target, emitted, feeds)
    assert [s.name for s in signature.inputs] == [s.name for s in model.signature.inputs]
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert distance(got[name], value) <= LIMITS[precision], name


@pytest.mark.parametrize("target", CONVERTERS)
def test_float16_halves_the_weights(real, target, tmp_path):
    model, _, _ = real
    weights = [
        f for p in LIMITS for f in [max(emit(target, model, tmp_path, p).files, key=_weight)]
    ]
    assert weights[1].stat().st_size < 0.62 * weights[0].stat().st_size


def _weight(path):
    return path.stat().st_size if path.suffix in (".bin", ".onnx") else 0


EDGES = (
    "g (float[N,3] b, float[N,3] a) => (float[N,3] z, float[N,3] y) {y = Add(b, a) z = Sub(b, a)}"
)


@pytest.mark.parametrize("target", CONVERTERS)
@pytest.mark.parametrize("precision", LIMITS, ids=str)
def test_names_order_and_free_batch_are_the_sources(target, precision, tmp_path):
    emitted = emit(target, as_model(EDGES), tmp_path, precision)
    a, b = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    got, signature = run(target, emitted, {"a": a, "b": b})
    assert [s.name for s in signature.inputs] == ["b", "a"]
    assert list(got) == ["z", "y"]
    assert signature.dynamic_batch
    assert {s.dtype for s in (*signature.inputs, *signature.outputs)} == {"float32"}
    np.testing.assert_allclose(got["z"], b - a, atol=5e-3)


@pytest.mark.parametrize("target", CONVERTERS)
def test_an_unknown_operator_is_a_reason_that_names_it(target, tmp_path):
    ir = onnx_ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 21, "shop" : 1]> '
        "g (float[4] x) => (float[4] y) { r = Relu(x) y = shop.Foo(r) }"
    )
    for index, node in enumerate(ir.graph):
        node.name = f"node_{index}"
    model = Model(ir, source=Source("custom"))
    reasons = CONVERTERS[target]().explain(model)
    assert [r.node for r in reasons] == ["node_1"]
    assert "Foo" in reasons[0].op
    with pytest.raises(UnsupportedError, match="node_1") as caught:
        emit(target, model, tmp_path)
    assert caught.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", CONVERTERS)
def test_a_sound_graph_needs_no_explanation(target):
    assert CONVERTERS[target]().explain(as_model(EDGES)) == ()


def test_onnx_files_are_of_the_version_that_older_runtimes_read(tmp_path):
    proto = onnx.load(emit("onnxruntime", as_model(EDGES), tmp_path).path)
    assert (proto.ir_version, proto.opset_import[0].version) == (10, 20)
    assert proto.producer_name == "edgekit"


@pytest.mark.parametrize("target", CONVERTERS)
def test_what_an_exporter_wrote_down_stays_at_home(target, tmp_path):
    model = as_model(EDGES)
    model.ir.metadata_props["note"] = model.ir.doc_string = "~someone/secret.py"
    for node in model.graph:
        node.metadata_props["stack_trace"] = node.doc_string = "~someone/secret.py"
        node.outputs[0].metadata_props["origin"] = "~someone/secret.py"
    for path in emit(target, model, tmp_path).files:
        assert b"someone" not in path.read_bytes()
    assert all(node.metadata_props and node.doc_string for node in model.graph)
    assert model.ir.metadata_props


def test_big_models_get_a_second_file(tmp_path, monkeypatch):
    for module in ("edgekit.converters.onnx_file", "edgekit.converters.openvino.converter"):
        monkeypatch.setattr(sys.modules[module], "SINGLE_FILE_LIMIT", 1000)
    assert onnx_file.SINGLE_FILE_LIMIT == 1000
    weight = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    model = as_model("g (float[N,64] x, float[64,64] w) => (float[N,64] y) {y = MatMul(x, w)}",
                     {"w": weight})  # fmt: skip
    x = np.ones((2, 64), np.float32)
    for target in CONVERTERS:
        emitted = emit(target, model, tmp_path)
        got, _ = run(target, emitted, {"x": x})
        np.testing.assert_allclose(got["y"], x @ weight, rtol=1e-4, atol=1e-4)
        if target != "openvino":
            assert [f.name for f in emitted.files[:2]] == ["net.fp32.onnx", "net.fp32.onnx.data"]


# INT8 --------------------------------------------------------------------------------------------

QDQ = """
g (float[N,{c},8,8] x, float s, int8 z, int8[16,{c},3,3] w, float[16] ws, int8[16] wz, float[16] b)
  => (float[N,16,6,6] y)
{{
  xq = QuantizeLinear (x, s, z)
  xd = DequantizeLinear (xq, s, z)
  wd = DequantizeLinear <axis=0> (w, ws, wz)
  y = Conv (xd, wd, b)
}}
"""


def quantized(limit=127, channels=16):
    """A convolution whose weights use the integers up to a limit; its inputs reach 12.7."""
    rng = np.random.default_rng(1)
    return as_model(
        QDQ.format(c=channels),
        {
            "s": np.float32(0.1),
            "z": np.int8(0),
            "w": rng.choice([-limit, limit], (16, channels, 3, 3)).astype(np.int8),
            "ws": np.full(16, 0.01, np.float32),
            "wz": np.zeros(16, np.int8),
            "b": rng.normal(size=16).astype(np.float32),
        },
        name="quantized",
    )


def integers(channels=16):
    rng = np.random.default_rng(2)
    return (rng.integers(-127, 128, (2, channels, 8, 8)) * np.float32(0.1)).astype(np.float32)


@pytest.mark.parametrize("target", CONVERTERS)
def test_int8_means_what_the_pairs_say(target, tmp_path):
    model, x = quantized(limit=63), integers()
    with Oracle(model.ir, exact=True) as oracle:
        expected = oracle.run({"x": x})["y"]
    emitted = emit(target, model, tmp_path, Precision.INT8)
    got, _ = run(target, emitted, {"x": x})
    assert distance(got["y"], expected) < 1e-3
    stored = sum(f.stat().st_size for f in emitted.files if f.suffix == ".bin")
    assert target != "openvino" or stored < 16 * 16 * 9 * 1.5
    assert emitted.float_nodes == ()


def test_openvino_proves_its_int8_layers(tmp_path):
    emitted = emit("openvino", quantized(), tmp_path, Precision.INT8)
    assert emitted.notes == ("1 of 1 quantized compute nodes run in INT8 on this CPU",)


def test_openvino_tells_which_node_it_cannot_take():
    texts = {
        "no such operator": "y = Det (r)",
        "fmod": "y = Mod <fmod=0> (r, r)",
    }
    for words, line in texts.items():
        ir = onnx_ir.from_onnx_text(
            f"{HEAD} g (float[4,4] x) => (float[N] y) {{ r = Relu (x) {line} }}"
        )
        for index, node in enumerate(ir.graph):
            node.name = f"node_{index}"
        (reason,) = OpenVINOConverter().explain(Model(ir))
        assert reason.node == "node_1"
        assert words in reason.reason


MISREAD = {
    "layout=1": (
        "g (float[2,5,3] x, float[1,16,3] w, float[1,16,4] r) => (float[2,5,1,4] y)"
        "{ y = LSTM <hidden_size=4, layout=1> (x, w, r) }"
    ),
    "antialias": (
        "g (float[1,1,8,8] x, int64[4] sizes) => (float[1,1,4,4] y)"
        '{ y = Resize <antialias=1, mode="linear"> (x, , , sizes) }'
    ),
    "padding value": ("g (float[4] x, float v, int64[2] p) => (float[6] y) { y = Pad (x, p, v) }"),
    "fractional": (
        "g (float[1,1,4,4] x, float[4] s) => (float[1,1,2,2] y)"
        '{ y = Resize <coordinate_transformation_mode="align_corners", mode="linear"> (x, , s) }'
    ),
}


@pytest.mark.parametrize("words", MISREAD)
def test_openvino_is_not_given_what_it_would_misread(words, tmp_path):
    constants = {
        "sizes": np.array([1, 1, 4, 4], np.int64),
        "p": np.array([1, 1], np.int64),
        "s": np.array([1, 1, 0.6, 0.6], np.float32),
    }
    text = MISREAD[words]
    head = text.partition("=>")[0]
    used = {k: v for k, v in constants.items() if f"] {k})" in head or f"] {k}," in head}
    model = as_model(text, used)
    assert [words in r.reason for r in OpenVINOConverter().explain(model)] == [True]
    with pytest.raises(UnsupportedError, match=words):
        emit("openvino", model, tmp_path)


@pytest.mark.parametrize("target", CONVERTERS)
def test_inputs_that_nothing_reads_and_outputs_that_are_inputs_stay(target, tmp_path):
    text = """g (float[N,3] a, int64[2] idle, float[N,3] b) => (float[N,3] y, float[N,3] same)
    { y = Sub (b, a) same = Identity (a) }"""
    a, b = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    feeds = {"a": a, "b": b, "idle": np.zeros(2, np.int64)}
    got, signature = run(target, emit(target, as_model(text), tmp_path), feeds)
    assert [s.name for s in signature.inputs] == ["a", "idle", "b"]
    np.testing.assert_array_equal(got["y"], b - a)
    np.testing.assert_array_equal(got["same"], a)


SATURATION = """
import sys
from pathlib import Path
import numpy as np
from edgekit import registry
folder = Path(sys.argv[1])
with registry.runtime("openvino").open(folder / "quantized.int8.xml", trusted=True) as session:
    np.save(folder / "got.npy", session.run({"x": np.load(folder / "x.npy")})["y"])
"""


@pytest.mark.skipif(sys.platform == "darwin", reason="an x86 CPU without VNNI is simulated")
@pytest.mark.parametrize(("limit", "exact"), [(127, False), (63, True)])
def test_only_seven_bit_weights_survive_openvino_without_vnni(limit, exact, tmp_path):
    import platform

    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("needs an x86 CPU")
    model, x = quantized(limit), np.abs(integers())
    with Oracle(model.ir, exact=True) as oracle:
        expected = oracle.run({"x": x})["y"]
    emit("openvino", model, tmp_path, Precision.INT8)
    np.save(tmp_path / "x.npy", x)
    subprocess.run(
        [sys.executable, "-c", SATURATION, str(tmp_path)],
        check=True,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
    )
    error = distance(np.load(tmp_path / "got.npy"), expected)
    assert (error < 1e-3) if exact else (error > 0.02)


# TensorRT ----------------------------------------------------------------------------------------


def test_tensorrt_refuses_a_graph_that_breaks_a_rule(tmp_path):
    text = QDQ.format(c=16).replace("Conv (xd", "Conv (x")
    model = as_model(text, {k: v.const_value.numpy() for k, v in
                            quantized().graph.initializers.items() if k not in "sz"}
                     | {"s": np.float32(0.1), "z": np.int8(0)})  # fmt: skip
    with pytest.raises(UnsupportedError, match="both-operands"):
        emit("tensorrt", model, tmp_path, Precision.INT8)


def test_messages_of_tensorrt_leave_out_the_missing_driver():
    message = (
        "ErrorCode.INVALID_NODE: Invalid Node - s ITensor::getDimensions: Error Code 3: API Usage "
        "Error (s: at least 2 dimensions are required for input. In checkNOrMoreDims at "
        "/_src/optimizer/api/network.cpp:865) [checkMacros.cpp::catchCudaError::250] Error Code 1:"
        " Cuda Runtime (In catchCudaError at /_src/common/dispatch/checkMacros.cpp:250 (cudaError "
        "35: CUDA driver version is insufficient for CUDA runtime version))"
    )
    assert without_noise(message) == (
        "Invalid Node - s ITensor::getDimensions: Error Code 3: API Usage Error "
        "(s: at least 2 dimensions are required for input)"
    )
    assert without_noise("the builder gave no reason") == "the builder gave no reason"


def test_tensorrt_gets_a_build_recipe(tmp_path):
    emitted = emit("tensorrt", quantized(), tmp_path, Precision.INT8)
    assert [f.name for f in emitted.files] == ["quantized.int8.onnx", "build.json"]
    document = json.loads((tmp_path / "build.json").read_text())
    assert len(document["int8_layers"]) == 1
    assert document["profiles"]["x"]["min"] == [1, 16, 8, 8]
    assert document["engine"] is None
    assert "not proven" in emitted.notes[0]


def test_tensorrt_spells_out_foreign_pairs_in_float_artifacts(tmp_path):
    """uint8, zero points, one pair per axis, weights alone: fine in float, exact in meaning."""
    text = """
    g (float[N,4] x, float s, uint8 z, int8[4,3] w, float[3] ws, int8[3] wz, uint8[N,3] i)
      => (float[N,3] y, int8[N,3] q)
    {
      xq = QuantizeLinear (x, s, z)
      xd = DequantizeLinear (xq, s, z)
      wd = DequantizeLinear <axis=1> (w, ws, wz)
      m = MatMul (xd, wd)
      id = DequantizeLinear (i, s, z)
      y = Add (m, id)
      q = QuantizeLinear <axis=1> (y, ws, wz)
    }"""
    rng = np.random.default_rng(3)
    model = as_model(
        text,
        {
            "s": np.float32(0.02),
            "z": np.uint8(120),
            "w": rng.integers(-127, 128, (4, 3)).astype(np.int8),
            "ws": np.array([0.01, 0.02, 0.05], np.float32),
            "wz": np.array([0, 3, -7], np.int8),
        },
    )
    feeds = {
        "x": rng.normal(size=(6, 4)).astype(np.float32) * 2,
        "i": rng.integers(0, 256, (6, 3)).astype(np.uint8),
    }
    with Oracle(model.ir, exact=True) as oracle:
        expected = oracle.run(feeds)
    emitted = emit("tensorrt", model, tmp_path)
    ops = {node.op_type for node in onnx.load(emitted.path).graph.node}
    assert not ops & {"QuantizeLinear", "DequantizeLinear"}
    got, _ = run("tensorrt", emitted, feeds)
    np.testing.assert_allclose(got["y"], expected["y"], rtol=1e-5, atol=1e-5)
    assert np.abs(got["q"].astype(int) - expected["q"]).max() <= 1


@pytest.mark.parametrize("states", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_tensorrt_gets_no_loop_of_one_step(states, bias, tmp_path):
    rng = np.random.default_rng(4)
    text = f"""
    g (float[1,N,3] x, float[1,16,3] w, float[1,16,4] r, float[1,32] b, float[1,N,4] h,
       float[1,N,4] c) => (float[1,1,N,4] y, float[1,N,4] hn, float[1,N,4] cn)
    {{
      y, hn, cn = LSTM <hidden_size=4>
        (x, w, r, {"b" if bias else ""}, , {"h" if states else ""}, {"c" if states else ""})
    }}"""
    weights = {
        "w": rng.normal(size=(1, 16, 3)).astype(np.float32),
        "r": rng.normal(size=(1, 16, 4)).astype(np.float32),
        "b": rng.normal(size=(1, 32)).astype(np.float32),
    }
    model = as_model(text, weights)
    feeds = {
        "x": rng.normal(size=(1, 5, 3)).astype(np.float32),
        "h": rng.normal(size=(1, 5, 4)).astype(np.float32),
        "c": rng.normal(size=(1, 5, 4)).astype(np.float32),
    }
    with Oracle(model.ir) as oracle:
        expected = oracle.run(feeds)
    emitted = emit("tensorrt", model, tmp_path)
    proto = onnx.load(emitted.path)
    onnx.checker.check_model(proto, full_check=True)
    assert "LSTM" not in {node.op_type for node in proto.graph.node}
    assert not {"w", "r", "b"} & {tensor.name for tensor in proto.graph.initializer}
    got, _ = run("tensorrt", emitted, feeds)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-6)


@needs_rtx
def test_rtx_builds_a_streaming_lstm(tmp_path):
    ir = onnx_ir.load(shared("models/dtln_1.onnx"))
    model = canonicalize(Model(ir, source=Source("dtln_1")))
    emitted = TensorRTConverter(rtx=True).emit(model, tmp_path, EmitOptions())
    assert tmp_path / "dtln_1.fp32.rtx.engine" in emitted.files


@needs_rtx
def test_rtx_proves_int8_layers_and_is_never_called_a_plan(tmp_path):
    emitted = TensorRTConverter().emit(quantized(), tmp_path, EmitOptions(Precision.INT8))
    engine = tmp_path / "quantized.int8.rtx.engine"
    assert engine in emitted.files
    assert engine.stat().st_size > 0
    assert emitted.float_nodes == ()
    assert "it is no plan" in emitted.notes[0]
    assert emitted.notes[1].startswith("1 of 1 quantized nodes are INT8 layers")
    document = json.loads((tmp_path / "build.json").read_text())
    assert document["engine"]["int8"] == {"proven": 1, "expected": 1, "missing": []}
    assert not list(tmp_path.glob("*.plan"))


@needs_rtx
@pytest.mark.parametrize(
    "between",
    [
        "MaxPool <kernel_shape=[2,2]> (xd)",
        "Transpose <perm=[0,1,3,2]> (xd)",
        "DepthToSpace <blocksize=2> (xd)",
    ],
)
def test_rtx_carries_int8_through_what_only_moves_values(between, tmp_path):
    deep = 4 if "Depth" in between else 1
    plain = quantized()
    text = QDQ.format(c=16).replace("Conv (xd", "Conv (xm").replace("wd =", f"xm = {between}\nwd =")
    text = text.replace("[N,16,8,8] x", f"[N,{16 * deep},8,8] x")
    text = text.replace("[N,16,6,6] y", "[N,16,A,B] y")
    constants = {k: v.const_value.numpy() for k, v in plain.graph.initializers.items()}
    model = as_model(text, constants)
    emitted = TensorRTConverter(rtx=True).emit(model, tmp_path, EmitOptions(Precision.INT8))
    assert emitted.notes[1].startswith("1 of 1 quantized nodes are INT8 layers")


@needs_rtx
def test_rtx_explains_what_the_parser_refuses():
    text = "g (float[4] x) => (float[4] y) { r = Relu(x) y = ReverseSequence <time_axis=5> (r, r) }"
    reasons = TensorRTConverter(rtx=True).explain(as_model(text.replace("<time_axis=5> ", "")))
    assert [r.op for r in reasons] == ["ReverseSequence"]


@needs_rtx
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_rtx_takes_the_softmax_of_a_vector(op, tmp_path):
    model = as_model(f"g (float[5] x) => (float[5] y) {{ y = {op} (x) }}")
    converter = TensorRTConverter(rtx=True)
    assert converter.explain(model) == ()
    emitted = converter.emit(model, tmp_path, EmitOptions())
    assert tmp_path / "net.fp32.rtx.engine" in emitted.files
    x = np.random.default_rng(0).normal(size=5).astype(np.float32)
    with Oracle(model.ir) as oracle:
        expected = oracle.run({"x": x})["y"]
    np.testing.assert_allclose(run("tensorrt", emitted, {"x": x})[0]["y"], expected, atol=1e-6)


@needs_rtx
def test_rtx_builds_an_input_that_is_an_output(tmp_path):
    model = as_model("g (float[N,3] x) => (float[N,3] x, float[N,3] y) { y = Relu (x) }")
    emitted = TensorRTConverter(rtx=True).emit(model, tmp_path, EmitOptions())
    assert tmp_path / "net.fp32.rtx.engine" in emitted.files


@needs_rtx
def test_an_engine_that_cannot_be_built_leaves_the_onnx_file(tmp_path, monkeypatch):
    from edgekit.converters.tensorrt import build

    monkeypatch.setattr(build, "TIMEOUT", 0.01)
    emitted = TensorRTConverter().emit(quantized(), tmp_path, EmitOptions(Precision.INT8))
    assert [f.name for f in emitted.files] == ["quantized.int8.onnx", "build.json"]
    assert "not done" in emitted.notes[0]
