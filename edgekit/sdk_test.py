import json

import numpy as np
import pytest
from PIL import Image

import edgekit
from edgekit.errors import GateError, InputError, UnsupportedError, UsageError
from edgekit.ir import Model
from edgekit.testing.models import save_small_cnn
from edgekit.testing.tflite import model_of
from edgekit.vocabulary import Layout


@pytest.fixture
def cnn(tmp_path):
    return save_small_cnn(tmp_path)


def plan(bundle, target="onnxruntime"):
    return json.loads((bundle.path / "plans" / f"{target}.json").read_text())


def test_ranges_of_an_earlier_calibration_give_the_same_plan(cnn, tmp_path):
    model = edgekit.load(cnn[0])
    ranges = edgekit.calibrate(model, cnn[1])
    assert ranges.samples == 32
    options = {"targets": "onnxruntime", "precision": "int8"}
    fresh = edgekit.convert(model, calibration=cnn[1], output=tmp_path / "a", **options)
    again = edgekit.convert(model, calibration=ranges, output=tmp_path / "b", **options)
    assert plan(fresh) == plan(again)
    assert again.artifacts[0].verification.data == "random"
    assert again.manifest.calibration["content_hash"] == ranges.data_hash


def test_data_in_memory(cnn, tmp_path):
    samples = np.random.default_rng(0).normal(size=(8, 3, 8, 8)).astype("f")
    bundle = edgekit.convert(
        cnn[0], targets=["tflite"], precision="int8", calibration=samples, output=tmp_path / "o"
    )
    assert bundle.artifacts[0].verification.samples == 8


def test_a_folder_of_pictures(cnn, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(4):
        pixels = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    steps = edgekit.Preprocessing(resize=(8, 8), scale=1 / 255, layout=Layout.NCHW)
    bundle = edgekit.convert(
        cnn[0],
        targets=["onnxruntime", "tflite"],
        precision="int8",
        calibration=folder,
        preprocessing=steps,
        output=tmp_path / "o",
    )
    assert bundle.artifacts[0].verification.samples == 4
    assert bundle.manifest.preprocessing["resize"] == (8, 8)
    # It travels inside the TFLite file, and comes back when that is read.
    again = edgekit.load(bundle.resolve(bundle.artifact("tflite").path))
    assert again.preprocessing == edgekit.Preprocessing(
        resize=(8, 8), scale=1 / 255, layout=Layout.NCHW
    )


def test_a_recipe_in_python(cnn, tmp_path):
    recipe = edgekit.Recipe(
        targets=(edgekit.Recipe().targets[2],),
        precision="int8",
        overrides=(edgekit.Override("Conv"),),
    )
    bundle = edgekit.convert(
        cnn[0], recipe=recipe, calibration=cnn[1], output=tmp_path / "o", precision="int8"
    )
    assert sum(r.op == "Conv" for r in bundle.artifacts[0].float_nodes) == 3


def test_the_same_input_gives_the_same_bytes(cnn, tmp_path):
    bundles = [
        edgekit.convert(
            cnn[0],
            precision="int8",
            calibration=cnn[1],
            output=tmp_path / name,
            targets=["tflite", "onnxruntime"],
        )
        for name in ("a", "b")
    ]
    hashes = [{f.path: f.sha256 for a in b.artifacts for f in a.files} for b in bundles]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    "options",
    [
        {"targets": "coreml"},
        {"targets": []},
        {"precision": "int4"},
        {"io": "uint8"},
        {"io_layout": "chwn"},
        {"cpu": "avx"},
        {"samples": 0},
        {"recipe": "no/such.yaml"},
    ],
)
def test_wrong_words(cnn, tmp_path, options):
    with pytest.raises(UsageError):
        edgekit.convert(cnn[0], output=tmp_path / "o", **options)
    assert not (tmp_path / "o").exists()


def test_a_failed_check_is_an_error_for_builds(cnn, tmp_path):
    from dataclasses import replace

    from edgekit.outcome import check_outcome

    bundle = edgekit.convert(cnn[0], targets="onnxruntime", output=tmp_path / "o")
    check_outcome(bundle)
    artifact = bundle.artifacts[0]
    wrong = bundle.with_artifact(replace(artifact, status="failed", notes=("it differs",)))
    with pytest.raises(GateError, match="it differs"):
        check_outcome(wrong)
    missing = bundle.with_artifact(replace(artifact, status="failed", path="", notes=("no op",)))
    with pytest.raises(UnsupportedError, match="no op"):
        check_outcome(missing)
    assert edgekit.Bundle.open(tmp_path / "o").artifacts[0].status == "failed"


def test_a_plan_is_noted_in_the_manifest(cnn, tmp_path, monkeypatch):
    from edgekit import building
    from edgekit.converters.tensorrt import build as tensorrt
    from edgekit.converters.tensorrt.recipe import Engine

    def build_plan(onnx, build_json, out):
        out.write_bytes(b"plan")
        build_json.write_text(build_json.read_text() + "\n")
        return Engine(out.name, "tensorrt 0", "a GPU", ("conv",))

    monkeypatch.setattr(tensorrt, "build_plan", build_plan)
    bundle = edgekit.convert(cnn[0], targets="tensorrt", output=tmp_path / "o")
    built = building.build(bundle.path)
    assert (built.serves, built.int8_layers) == ("a GPU", 1)
    again = edgekit.Bundle.open(bundle.path)
    again.check()
    assert "tensorrt/cnn.fp32.plan" in {f.path for f in again.artifacts[0].files}
    (again.path / again.artifacts[0].path).write_bytes(b"tampered")
    with pytest.raises(InputError, match="hash differs"):
        building.build(bundle.path)


def test_ranges_do_not_fit_another_layout(cnn, tmp_path):
    model = edgekit.load(cnn[0])
    ranges = edgekit.calibrate(model, cnn[1])
    with pytest.raises(UsageError, match="layout"):
        edgekit.convert(
            model,
            targets="tflite",
            precision="int8",
            calibration=ranges,
            io_layout="nhwc",
            output=tmp_path / "o",
        )
    assert not (tmp_path / "o").exists()


def test_an_int8_artifact_far_from_float_says_so(tmp_path):
    rng = np.random.default_rng(0)
    model = Model(
        model_of(
            '<ir_version: 10, opset_import: ["" : 21]>'
            "g (float[N, 16] x, float[16, 16] w) => (float[N, 16] y) { y = MatMul(x, w) }",
            {"w": rng.normal(size=(16, 16)).astype("f")},
        )
    )
    # Calibrated on inputs that are a thousand times too small, so that all others saturate.
    ranges = edgekit.calibrate(model, rng.normal(size=(8, 16)).astype("f") * np.float32(1e-3))
    bundle = edgekit.convert(
        model, targets="onnxruntime", precision="int8", calibration=ranges, output=tmp_path / "o"
    )
    (artifact,) = bundle.artifacts
    assert artifact.verification.sqnr_db < 10
    assert any("far from the float model" in note for note in artifact.notes)
