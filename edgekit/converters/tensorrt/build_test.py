"""Build logs, build recipes, and what happens where nothing can be built."""

import json

import pytest

from edgekit.converters.tensorrt import build
from edgekit.converters.tensorrt.build import NoGpuError, build_plan
from edgekit.converters.tensorrt.layers import missing_int8, parse_layers
from edgekit.converters.tensorrt.recipe import BuildRecipe, Engine, Profile, profiles_of
from edgekit.errors import InputError, MissingDependencyError
from edgekit.testing.tflite import model_of

TENSOR = "{{ Name: t, Dimensions: [1,4], Strides: [4,1], Datatype: {}, Format: (NHWC) major }}"


def line(name, kind, inputs, constants, metadata):
    def tensors(kinds):
        return f"[ {', '.join(TENSOR.format(k) for k in kinds)}]" if kinds else "[]"

    return (
        f"Name: {name}, LayerType: {kind}, Inputs: {tensors(inputs)}, "
        f"Constants: {tensors(constants)}, Outputs: {tensors(['Float'])}, TacticName: t, "
        f"StreamId: 0, Metadata: {metadata}"
    )


LOG = "\n".join(
    [
        "Layers:",
        line("a", "correlation", ["Int8"], ["Int8", "Float"], "[ONNX Layer: int8 conv][q]"),
        line("b", "kgen", ["Float"], ["Int8", "Float"], "[ONNX Layer: float conv]"),
        line("c", "correlation", ["Float", "Float"], ["Float"], "[ONNX Layer: float conv]"),
        line("d", "kgen", ["Int8", "Int8"], [], "[ONNX Layer: add][ONNX Layer: float conv]"),
        line("e", "gemm", ["Int8", "Int8"], ["Float"], "[ONNX Layer: product, of two]"),
        "",
        "Bindings: x",
    ]
)  # fmt: skip


def test_the_log_proves_which_nodes_multiply_in_int8():
    layers = parse_layers(LOG)
    assert [layer.name for layer in layers] == list("abcde")
    expected = ("int8 conv", "float conv", "product, of two", "absent")
    assert missing_int8(layers, expected) == ("float conv", "absent")


def test_a_name_that_begins_like_another_is_not_taken_for_it():
    assert missing_int8(parse_layers(LOG), ["int8"]) == ("int8",)


RECIPE = BuildRecipe(
    onnx="m.int8.onnx",
    precision="int8",
    profiles={"x": Profile((1, 3), (1, 3), (32, 3))},
    int8_layers=("conv",),
)


def test_a_recipe_comes_back_from_its_file(tmp_path):
    path = tmp_path / "build.json"
    RECIPE.save(path)
    assert BuildRecipe.load(path) == RECIPE
    commands = json.loads(path.read_text())["commands"]
    assert "--minShapes=x:1x3 --optShapes=x:1x3 --maxShapes=x:32x3" in commands["trtexec"]
    assert "--saveEngine=m.int8.plan" in commands["trtexec"]


def test_the_recipe_tells_what_was_proven(tmp_path):
    engine = Engine("m.rtx.engine", "tensorrt-rtx 1", "RTX", ("conv",), ("other",))
    document = RECIPE.with_engine(engine).to_json()
    assert document["engine"]["int8"] == {"proven": 1, "expected": 2, "missing": ["other"]}


@pytest.mark.parametrize(
    "change",
    [
        {"version": 99},
        {"onnx": "../elsewhere.onnx"},
        {"profiles": {"x": {"min": [2], "opt": [1], "max": [4]}}},
        {"profiles": {"x": {"min": [1, 1], "opt": [1], "max": [4]}}},
        {"profiles": []},
        {"int8_layers": None},
    ],
)
def test_a_damaged_recipe_is_refused(tmp_path, change):
    path = tmp_path / "build.json"
    path.write_text(json.dumps({**RECIPE.to_json(), **change}))
    with pytest.raises(InputError, match=r"build.json' is no build recipe"):
        BuildRecipe.load(path)


def test_profiles_cover_every_free_axis():
    model = model_of(
        '<ir_version: 10, opset_import: ["" : 21]> g '
        "(float[N,3,H] x, float[4] fixed, float[2,N] later) => (float[N,3,H] y) "
        "{ y = Relu (x) }"
    )
    profiles = profiles_of(model.graph.inputs)
    assert set(profiles) == {"x", "later"}
    assert profiles["x"] == Profile((1, 3, 1), (1, 3, 128), (32, 3, 1024))
    assert profiles["later"] == Profile((2, 1), (2, 1), (2, 32))


def test_a_plan_needs_tensorrt_and_a_gpu(tmp_path, monkeypatch):
    paths = (tmp_path / "m.onnx", tmp_path / "build.json", tmp_path / "m.plan")
    monkeypatch.setattr(build, "version_of", lambda name: "")
    with pytest.raises(MissingDependencyError, match=r"edgekit\[tensorrt\]"):
        build_plan(*paths)
    monkeypatch.setattr(build, "version_of", lambda name: "10.9")
    monkeypatch.setattr(build, "gpus", lambda: ())
    with pytest.raises(NoGpuError) as caught:
        build_plan(*paths)
    assert caught.value.exit_code == 5


def test_the_command_ends_with_the_errors_exit_code(tmp_path, capsys):
    assert build.main([]) == 2
    assert build.main([str(tmp_path / "absent.json")]) == 6
    assert "is no build recipe" in capsys.readouterr().err
