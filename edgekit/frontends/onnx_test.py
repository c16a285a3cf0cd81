"""ONNX files: what is read, what is refused and with which words, and what damage does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.helper as oh
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from edgekit.errors import EdgeKitError, ModelFileError, UnsupportedError
from edgekit.frontends import external_data
from edgekit.frontends import onnx as frontend
from edgekit.frontends.load import load
from edgekit.ir import Oracle
from edgekit.testing.damage import damaged
from edgekit.testing.data import shared
from edgekit.vocabulary import Layout


def model_of(text: str, **constants: np.ndarray) -> onnx.ModelProto:
    """A model in ONNX's text form with its initializers."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{text}')
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model


def small_conv() -> onnx.ModelProto:
    weights = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    return model_of(
        "g (float[N, 3, 8, 8] image) => (float[N, 4, 6, 6] map)"
        "{ c = Conv(image, w) \n map = Relu(c) }",
        w=weights,
    )


def write(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def test_contract_and_provenance(tmp_path):
    model = load(write(small_conv(), tmp_path, "my net (v2).onnx"))
    image, result = *model.signature.inputs, *model.signature.outputs
    assert str(image) == "image: float32[N, 3, 8, 8] nchw"
    assert str(result) == "map: float32[N, 4, 6, 6] nchw"
    assert model.signature.dynamic_batch
    assert model.source.name == "my_net_v2"
    assert model.source.path == "my net (v2).onnx"
    assert model.source.frontend == "onnx"
    assert len(model.source.sha256) == 64


@pytest.mark.parametrize(
    ("text", "layouts"),
    [
        ("{ t = Transpose<perm=[0,3,1,2]>(x) \n y = Relu(t) }", {"x": Layout.NHWC}),
        ("{ s = Mul(x, x) \n y = MaxPool<kernel_shape=[1,1]>(s) }", {"x": "nchw", "y": "nchw"}),
        ("{ p = MaxPool<kernel_shape=[1,1]>(x) \n y = Transpose<perm=[0,2,3,1]>(p) }",
         {"x": "nchw", "y": "nhwc"}),
        ("{ y = MatMul(x, x) }", {}),
        ("{ y = Softmax(x) }", {}),
    ],
)  # fmt: skip
def test_layout_is_read_off_the_graph(tmp_path, text, layouts):
    path = write(model_of(f"g (float[1,4,4,4] x) => (float[a,b,c,d] y) {text}"), tmp_path)
    assert load(path).layouts == layouts


def test_single_channel_image_reshaped_to_nchw_is_nhwc(tmp_path):
    text = "g (float[N,6,5,1] x) => (float[N,1,6,5] y) { r = Reshape(x, s) \n y = Relu(r) }"
    model = model_of(text, s=np.array([-1, 1, 6, 5]))
    model = onnx.shape_inference.infer_shapes(model)
    assert load(write(model, tmp_path)).layouts == {"x": Layout.NHWC}


def test_functions_are_inlined(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
    g (float[2] x) => (float[2] y) { y = local.twice(x) }
    <domain: "local", opset_import: ["" : 17]> twice (a) => (b) { b = Add(a, a) }"""
    model = load(write(onnx.parser.parse_model(text), tmp_path))
    assert [node.op_type for node in model.graph] == ["Add"]
    with Oracle(model.ir) as oracle:
        np.testing.assert_array_equal(oracle.run({"x": np.float32([1, 2])})["y"], [2, 4])


def test_functions_that_never_end_are_refused(tmp_path):
    head = '<ir_version: 8, opset_import: ["" : 17, "l" : 1]>'
    main = "g (float[2] x) => (float[2] y) { y = l.f0(x) }"
    function = '<domain: "l", opset_import: ["" : 17, "l" : 1]> {} (a) => (b) {{ {} }}'
    loop = function.format("f0", "b = l.f0(a)")
    with pytest.raises(ModelFileError, match="call themselves: f0"):
        load(write(onnx.parser.parse_model(f"{head}{main}{loop}"), tmp_path))
    bomb = [function.format(f"f{i}", f"c = l.f{i + 1}(a) \n b = l.f{i + 1}(c)") for i in range(40)]
    bomb.append(function.format("f40", "b = Relu(a)"))
    with pytest.raises(ModelFileError, match="nodes once its functions are inlined"):
        load(write(onnx.parser.parse_model(head + main + "".join(bomb)), tmp_path))


REFUSED = {
    "custom domain": ("y = my.domain.Foo(x)", "my.domain.Foo 'y': custom operator"),
    "contrib": ("y = com.microsoft.Attention(x, x)", "extension of ONNX Runtime"),
    "training": ("y = ai.onnx.preview.training.Adam(x)", "is for training"),
    "training mode": ("y = BatchNormalization<training_mode=1>(x,x,x,x,x)", "is for training"),
    "classical": ("y = ai.onnx.ml.Scaler(x)", "classical machine learning"),
    "sequence": ("s = SequenceConstruct(x, x) \n y = ConcatFromSequence<axis=0>(s)", "sequences"),
    "no operator": ("y = Bogus(x)", "is not an ONNX operator"),
    "too new": ("y = Gelu(x)", "does not exist in opset 17"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_operators_are_refused_with_a_reason(tmp_path, name):
    body, reason = REFUSED[name]
    names = ("my.domain", "com.microsoft", "ai.onnx.preview.training", "ai.onnx.ml")
    domains = "".join(f', "{domain}" : 1' for domain in names)
    text = f'<ir_version: 8, opset_import: ["" : 17{domains}]>\n'
    text += f"g (float[2,2] x) => (float[2,2] y) {{ {body} }}"
    with pytest.raises(UnsupportedError) as error:
        load(write(onnx.parser.parse_model(text), tmp_path))
    assert reason in str(error.value)
    assert error.value.reasons


def test_all_reasons_come_at_once_also_from_subgraphs(tmp_path):
    branch = oh.make_graph(
        [oh.make_node("Bogus", ["x"], ["b"])], "b", [], [oh.make_tensor_value_info("b", 1, [2])]
    )
    nodes = [
        oh.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        oh.make_node("Other", ["x"], ["z"], name="second"),
    ]
    values = [oh.make_tensor_value_info(n, t, s) for n, t, s in (("c", 9, []), ("x", 1, [2]))]
    graph = oh.make_graph(nodes, "g", values, [oh.make_tensor_value_info("y", 1, [2])])
    with pytest.raises(UnsupportedError) as error:
        load(write(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)]), tmp_path))
    assert sorted(r.op for r in error.value.reasons) == ["Bogus", "Bogus", "Other"]


@pytest.mark.parametrize(("opset", "hint"), [(6, "newer opset"), (999, "upgrade onnx")])
def test_opsets_out_of_range(tmp_path, opset, hint):
    model = small_conv()
    model.opset_import[0].version = opset
    with pytest.raises(UnsupportedError, match=hint):
        load(write(model, tmp_path))


def test_opset_7_is_read(tmp_path):
    model = small_conv()
    model.opset_import[0].version = 7
    assert load(write(model, tmp_path)).graph.opset_imports[""] == 7


def test_text_and_sequence_inputs_are_refused(tmp_path):
    model = small_conv()
    model.graph.input.append(oh.make_tensor_value_info("words", TensorProto.STRING, [1]))
    model.graph.input.append(oh.make_tensor_sequence_value_info("list", TensorProto.FLOAT, None))
    with pytest.raises(UnsupportedError) as error:
        load(write(model, tmp_path))
    assert {r.node for r in error.value.reasons} == {"words", "list"}


def test_wrong_number_of_inputs_is_named(tmp_path):
    model = model_of("g (float[2] x) => (float[2] y) { y = Relu(x, x) }")
    with pytest.raises(ModelFileError, match="Relu 'y'"):
        load(write(model, tmp_path))


def test_constant_with_missing_data(tmp_path):
    model = small_conv()
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    with pytest.raises(ModelFileError, match=r"'w' of model\.onnx holds 428 bytes where .* 432"):
        load(write(model, tmp_path))


def external(folder: Path, location: str = "weights.bin") -> Path:
    """A model whose weights lie in another file."""
    path = folder / "model.onnx"
    onnx.save(
        small_conv(), path, save_as_external_data=True, location=location, size_threshold=0
    )  # fmt: skip
    return path


def relocate(path: Path, location: str) -> None:
    model = onnx.load(path, load_external_data=False)
    entry = next(e for e in model.graph.initializer[0].external_data if e.key == "location")
    entry.value = location
    path.write_bytes(model.SerializeToString())


def test_external_data_is_read(tmp_path):
    image = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    with Oracle(load(external(tmp_path)).ir) as oracle:
        result = oracle.run({"image": image})["map"]
    session = onnxruntime.InferenceSession(small_conv().SerializeToString())
    np.testing.assert_allclose(result, session.run(None, {"image": image})[0], atol=1e-6)


def test_missing_external_data(tmp_path):
    path = external(tmp_path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelFileError, match=r"weights\.bin', which is not beside the model"):
        load(path)


def test_truncated_external_data(tmp_path):
    path = external(tmp_path)
    data = tmp_path / "weights.bin"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match="truncated"):
        load(path)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret", "C:\\x", ""])
def test_external_data_outside_the_folder(tmp_path, location):
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(432))
    path = external(folder)
    relocate(path, location)
    with pytest.raises(ModelFileError, match="outside the model's folder"):
        load(path)


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_external_data_by_a_link(tmp_path, link):
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(432))
    path = external(folder)
    (folder / "weights.bin").unlink()
    getattr(folder / "weights.bin", link)(tmp_path / "secret")
    with pytest.raises(ModelFileError, match="link"):
        load(path)


def test_large_external_data_stays_a_mapped_file(tmp_path, monkeypatch):
    monkeypatch.setattr(frontend, "IN_MEMORY_LIMIT", 16)
    monkeypatch.setattr(external_data, "IN_MEMORY_LIMIT", 16)
    path = external(tmp_path)
    ir = frontend.read_graph(path, in_memory_limit=16)
    weights = ir.graph.initializers["w"].const_value
    assert type(weights).__name__ == "ExternalTensor"
    expected = numpy_helper.to_array(small_conv().graph.initializer[0])
    np.testing.assert_array_equal(weights.numpy(), expected)


def test_more_than_two_gigabytes(tmp_path):
    """A sparse file of zeros: read without touching its pages, one row computed from it."""
    rows, columns = 70_000, 8192
    model = model_of(
        f"g (int64[1] row) => (float[1, {columns}] y) {{ y = Gather(w, row) }}",
        w=np.zeros((1, 1), np.float32),
    )
    tensor = model.graph.initializer[0]
    del tensor.dims[:]
    tensor.dims.extend([rows, columns])
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="huge.bin")
    with (tmp_path / "huge.bin").open("wb") as f:
        f.truncate(rows * columns * 4)
        f.seek((rows - 1) * columns * 4)
        f.write(np.arange(columns, dtype=np.float32).tobytes())
    model = load(write(model, tmp_path))
    weights = model.graph.initializers["w"].const_value
    assert weights.nbytes > 2**31
    np.testing.assert_array_equal(weights.numpy()[-1, :4], [0, 1, 2, 3])


@pytest.mark.parametrize("content", [b"\x08", b"garbage" * 40, b"\xff" * 99, b"{}", bytes(64)])
def test_garbage_is_no_model(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError):
        load(path)


def test_damaged_files_never_raise_anything_else(tmp_path):
    text = (
        "g (float[N, 3, 8, 8] image) => (float[N, 2] y)"
        "{ c = Conv<pads=[1,1,1,1]>(image, w) \n r = Relu(c) \n p = GlobalAveragePool(r)"
        " f = Flatten(p) \n d = MatMul(f, m) \n k = Constant<value=float[2]{1,2}>()"
        " y = Add(d, k) }"
    )
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    model = model_of(text, w=weights, m=rng.standard_normal((4, 2)).astype(np.float32))
    content = onnx.shape_inference.infer_shapes(model).SerializeToString()
    path = tmp_path / "model.onnx"
    outcomes = set()
    for seed in range(1500):
        path.write_bytes(damaged(content, seed))
        try:
            load(path)
            outcomes.add("read")
        except EdgeKitError as e:
            outcomes.add(type(e).__name__)
    assert outcomes == {"read", "ModelFileError", "UnsupportedError"}


def test_truncations(tmp_path):
    content = small_conv().SerializeToString()
    path = tmp_path / "model.onnx"
    for size in range(1, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises((ModelFileError, UnsupportedError)):
            load(path)


@pytest.mark.parametrize(
    "name", ["resnet20_cifar10", "fastestdet", "selfie_segmentation_landscape", "dtln_1"]
)
def test_real_models_run_as_in_their_file(name):
    path = shared(f"models/{name}.onnx")
    model = load(path)
    session = onnxruntime.InferenceSession(str(path))
    rng = np.random.default_rng(0)
    feeds = {
        spec.name: rng.random([d if isinstance(d, int) else 2 for d in spec.shape], np.float32)
        for spec in model.signature.inputs
    }
    with Oracle(model.ir) as oracle:
        results = oracle.run(feeds)
    assert [o.name for o in session.get_outputs()] == list(results)
    for expected, result in zip(session.run(None, feeds), results.values(), strict=True):
        np.testing.assert_allclose(result, expected, atol=1e-5 * np.ptp(expected))
