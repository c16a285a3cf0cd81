import json
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx_ir
import pytest

from edgekit.bundle import Bundle
from edgekit.testing.data import shared
from edgekit.testing.models import save_small_cnn
from edgekit.testing.tflite import model_of


def edgekit(*words, cwd=None, **options):
    command = [sys.executable, "-m", "edgekit", *map(str, words)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, timeout=240, **options
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def assert_refused(done, code, *messages):
    """The command ended with this exit code and one message on stderr that says all of these."""
    assert done.returncode == code, done.stderr + done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    for message in messages:
        assert message in done.stderr, done.stderr


def assert_nothing_else(folder, *names):
    assert sorted(p.name for p in folder.iterdir()) == sorted(names)


@pytest.fixture
def cnn(tmp_path):
    return save_small_cnn(tmp_path)


CPU_TARGETS = ["-t", "tflite", "-t", "openvino", "-t", "onnxruntime"]


def test_int8_on_every_runtime(cnn, tmp_path):
    model, data = cnn
    done = edgekit("convert", model, *CPU_TARGETS, "-p", "int8", "-c", data, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    bundle = Bundle.open(tmp_path / "out")
    bundle.check()
    assert {a.target: a.status for a in bundle.artifacts} == dict.fromkeys(
        ["tflite", "openvino", "onnxruntime"], "verified"
    )
    for artifact in bundle.artifacts:
        assert artifact.verification.samples == 32
        assert artifact.verification.data == "calibration"
        assert artifact.verification.sqnr_db > 15
        assert [p.spec.name for p in artifact.inputs] == ["image"]
        assert [p.spec.name for p in artifact.outputs] == ["scores"]
    calibration = bundle.manifest.calibration
    assert calibration["samples"] == 32
    assert len(calibration["content_hash"]) == 64
    assert (tmp_path / "out" / "ranges.json").exists()
    plans = sorted(p.name for p in (tmp_path / "out" / "plans").iterdir())
    assert plans == ["onnxruntime.json", "openvino.json", "tflite.json"]
    assert bundle.manifest.source["path"] == "cnn.onnx"


def test_json_is_the_manifest(cnn, tmp_path):
    done = edgekit("convert", cnn[0], "-t", "onnxruntime", "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "manifest.json").read_text())


def test_integer_inputs_and_another_layout(cnn, tmp_path):
    model, data = cnn
    out = tmp_path / "out"
    done = edgekit(
        "convert",
        model,
        *CPU_TARGETS,
        "-p",
        "int8",
        "-c",
        data,
        "-o",
        out,
        "--io",
        "int8",
        "--io-layout",
        "nhwc",
    )
    assert done.returncode == 0, done.stderr
    for artifact in Bundle.open(out).artifacts:
        (port,) = artifact.inputs
        assert port.spec.dtype == "int8"
        assert port.spec.shape[1:] == (8, 8, 3)
        assert port.scale > 0
        assert artifact.verification.sqnr_db > 15


def test_a_recipe_and_flags_that_override_it(cnn, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "{version: 1, targets: [onnxruntime], precision: int8, calibration: data.npz, samples: 4,"
        " overrides: [{keep_float: Gemm}]}"
    )
    out = tmp_path / "out"
    done = edgekit("convert", cnn[0], "--recipe", recipe, "--samples", 8, "-o", out)
    assert done.returncode == 0, done.stderr
    (artifact,) = Bundle.open(out).artifacts
    assert artifact.verification.samples == 8
    assert "Gemm" in {reason.op for reason in artifact.float_nodes}


def test_float16(cnn, tmp_path):
    done = edgekit("convert", cnn[0], *CPU_TARGETS, "-p", "fp16", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for artifact in Bundle.open(tmp_path / "out").artifacts:
        assert artifact.status == "verified"
        assert artifact.verification.data == "random"
        assert artifact.verification.max_abs_error < 1e-2


def test_int8_without_data(cnn, tmp_path):
    done = edgekit("convert", cnn[0], "-p", "int8", "-o", tmp_path / "out")
    assert_refused(done, 2, "int8 needs calibration data", "-c DATA")
    assert_nothing_else(tmp_path, "cnn.onnx", "data.npz")


def test_usage(cnn, tmp_path):
    assert edgekit("convert", cnn[0], "-t", "coreml").returncode == 2
    assert edgekit("convert").returncode == 2
    assert edgekit("nonsense").returncode == 2
    assert edgekit("convert", cnn[0], "--samples", "0").returncode == 2
    assert_refused(
        edgekit("convert", cnn[0], "--io", "int8", "-o", tmp_path / "out"), 2, "--precision int8"
    )


def test_an_existing_folder(cnn, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    words = ("convert", cnn[0], "-t", "onnxruntime", "-o", out)
    assert_refused(edgekit(*words), 6, "not empty")
    assert_refused(edgekit(*words, "--force"), 6, "does not replace")
    assert (out / "mine.txt").read_text() == "precious"
    (out / "mine.txt").unlink()
    assert edgekit(*words).returncode == 0
    assert_refused(edgekit(*words), 6, "--force")
    assert edgekit(*words, "--force").returncode == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("gone.onnx", None),
        ("empty.onnx", b""),
        ("garbage.onnx", b"\xff" * 100),
        ("garbage.tflite", b"TFL3" * 9),
        ("garbage.h5", b"\x89HDF\r\n\x1a\n" + b"\x00" * 100),
        ("garbage.keras", b"PK\x03\x04" + b"\x00" * 100),
        ("garbage.pt2", b"PK\x03\x04" + b"\x00" * 100),
        ("pickle.pt", b"\x80\x02}q\x00."),
        ("model.txt", b"hello"),
    ],
)
def test_a_file_that_is_no_model(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = edgekit("convert", tmp_path / name, "-o", tmp_path / "out")
    assert done.returncode in (4, 6), done.stderr
    assert_refused(done, done.returncode, name)
    assert_nothing_else(tmp_path, *([] if content is None else [name]))


def test_a_truncated_model(cnn, tmp_path):
    content = cnn[0].read_bytes()
    cnn[0].write_bytes(content[: len(content) // 2])
    assert_refused(edgekit("convert", cnn[0], "-o", tmp_path / "out"), 6, "cnn.onnx")
    assert_refused(edgekit("inspect", cnn[0]), 6, "cnn.onnx")
    assert_nothing_else(tmp_path, "cnn.onnx", "data.npz")


def test_an_empty_folder_is_no_saved_model(tmp_path):
    (tmp_path / "model").mkdir()
    assert_refused(edgekit("convert", tmp_path / "model", "-o", tmp_path / "out"), 6, "model")


def test_a_zip_bomb(tmp_path):
    bomb = tmp_path / "bomb.keras"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", b" " * (300 << 20))
        archive.writestr("model.weights.h5", b"")
    assert_refused(edgekit("convert", bomb, "-o", tmp_path / "out"), 6, "bomb.keras")
    assert_nothing_else(tmp_path, "bomb.keras")


def test_an_operator_that_nobody_knows(tmp_path):
    model = model_of(
        '<ir_version: 10, opset_import: ["" : 21, "acme" : 1]>'
        "g (float[1, 4] x) => (float[1, 4] y) { y = acme.Frobnicate(x) }"
    )
    onnx_ir.save(model, tmp_path / "odd.onnx")
    assert_refused(
        edgekit("convert", tmp_path / "odd.onnx", "-o", tmp_path / "out"), 4, "Frobnicate"
    )
    assert_nothing_else(tmp_path, "odd.onnx")


def test_one_target_cannot_take_the_model(tmp_path):
    model = model_of(
        '<ir_version: 10, opset_import: ["" : 21]>g (float[4, 4] x) => (float d) { d = Det(x) }'
    )
    onnx_ir.save(model, tmp_path / "det.onnx")
    words = ("convert", tmp_path / "det.onnx", "-t", "tflite", "-t", "onnxruntime")
    assert_refused(edgekit(*words, "-o", tmp_path / "out"), 4, "1 of 2 targets", "Det", "tflite")
    bundle = Bundle.open(tmp_path / "out")
    assert [a.status for a in bundle.artifacts] == ["failed", "verified"]
    assert not (tmp_path / "out" / "tflite").exists()
    assert_refused(edgekit(*words[:4], "-o", tmp_path / "alone"), 4, "Det")
    assert not (tmp_path / "alone").exists()


def test_an_old_file_that_the_runtime_refuses(tmp_path):
    model = shared("models/rejected_person_detect.tflite")
    done = edgekit("convert", model, "-o", tmp_path / "out")
    assert done.returncode in (4, 6)
    assert_refused(done, done.returncode, "rejected_person_detect.tflite")
    assert_nothing_else(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"picture": np.zeros((4, 3, 8, 8), "f"), "other": np.zeros((4, 1), "f")}, "image"),
        ({"image": np.zeros((4, 8, 8, 3), "f")}, "shape"),
        ({"image": np.zeros((4, 3, 8), "f")}, "image"),
        ({"image": np.full((4, 3, 8, 8), np.nan, "f")}, "image"),
        ({"image": np.full((4, 3, 8, 8), np.inf, "f")}, "image"),
        ({"image": np.full((4, 3, 8, 8), 2**30 + 1, np.int64)}, "image"),
        ({"image": np.zeros((0, 3, 8, 8), "f")}, ""),
        ({"image": np.zeros((4, 3, 8, 8), "c8")}, "complex64"),
    ],
)
def test_data_that_does_not_fit(cnn, tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    done = edgekit(
        "convert",
        cnn[0],
        "-t",
        "onnxruntime",
        "-p",
        "int8",
        "-c",
        tmp_path / "bad.npz",
        "-o",
        tmp_path / "out",
    )
    assert_refused(done, 6, message)
    assert_nothing_else(tmp_path, "bad.npz", "cnn.onnx", "data.npz")


@pytest.mark.parametrize("data", ["gone.npz", "no.such.module:function", "cnn.onnx"])
def test_no_data(cnn, tmp_path, data):
    done = edgekit(
        "convert", cnn[0], "-t", "onnxruntime", "-p", "int8", "-c", data, "-o", "out", cwd=tmp_path
    )
    assert done.returncode in (2, 6), done.stderr
    assert_refused(done, done.returncode, data.partition(":")[0])
    assert_nothing_else(tmp_path, "cnn.onnx", "data.npz")


def no_large_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


@pytest.mark.parametrize("target", ["tflite", "openvino", "onnxruntime", "tensorrt"])
def test_a_disk_that_takes_no_more(cnn, tmp_path, target):
    out = tmp_path / "out"
    done = edgekit("convert", cnn[0], "-t", target, "-o", out, preexec_fn=no_large_files)
    assert_refused(done, 6, "cannot write")
    assert_nothing_else(tmp_path, "cnn.onnx", "data.npz")


def test_a_path_that_cannot_be_made(cnn, tmp_path):
    done = edgekit("convert", cnn[0], "-t", "onnxruntime", "-o", cnn[0] / "out")
    assert_refused(done, 6, "cannot write")


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_killed_while_it_works(cnn, tmp_path, death):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "edgekit", "convert", str(cnn[0]), "-p", "int8"]
    command += ["-c", str(cnn[1]), "-o", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        partial = wait_for(lambda: next(iter(tmp_path.glob(".out.edgekit-partial-*")), None))
        worker = int(partial.name.rpartition("-")[2])
        assert worker != process.pid
        os.kill(worker, death)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"ended by {death.name}" in errors
    assert_nothing_else(tmp_path, "cnn.onnx", "data.npz")


def test_the_whole_command_killed(cnn, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "edgekit", "convert", str(cnn[0]), "-o", str(out)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        partial = wait_for(lambda: next(iter(tmp_path.glob(".out.edgekit-partial-*")), None))
        worker = int(partial.name.rpartition("-")[2])
        process.kill()
        process.wait()
    wait_for(lambda: not Path(f"/proc/{worker}").exists())
    assert not out.exists()
    done = edgekit("convert", cnn[0], "-t", "onnxruntime", "-o", out)
    assert done.returncode == 0
    assert_nothing_else(tmp_path, "cnn.onnx", "data.npz", "out")


def wait_for(condition):
    for _ in range(6000):
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_a_crash_in_native_code_is_a_message(tmp_path):
    code = (
        "import os, sys\n"
        "from edgekit.cli.supervise import supervise\n"
        "sys.exit(supervise(os.abort, lambda pid: print('cleaned')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert_refused(done, 6, "crashed", "SIGABRT")
    assert done.stdout == "cleaned\n"


def test_a_bug_is_told_as_one():
    from edgekit.cli.errors import report

    def work():
        raise ZeroDivisionError("oops")

    assert report(work) == 1


def test_inspect(cnn):
    done = edgekit("inspect", cnn[0], "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["signature"]["inputs"][0]["shape"] == ["N", 3, 8, 8]
    assert found["operators"]["Conv"] == 3
    weights = 8 * 27 + 8 + 72 + 64 + 8 + 80 + 10
    assert found["parameters"] == weights + (8 if found["parameters"] > weights else 0)
    assert found["macs"] == 64 * (8 * 27 + 72 + 64) + 80
    assert all(not t["unsupported"] and not t["problem"] for t in found["targets"])
    text = edgekit("inspect", cnn[0])
    assert "MACs" in text.stdout


def test_doctor():
    found = json.loads(edgekit("doctor", "--json").stdout)
    assert found["environment"]["cpu"]["cores"] >= 1
    kinds = {f["kind"] for f in found["findings"]}
    assert kinds == {"frontend", "converter", "runtime", "extra"}
    assert "onnxruntime" in edgekit("doctor").stdout


def test_build_needs_tensorrt(cnn, tmp_path):
    out = tmp_path / "out"
    assert edgekit("convert", cnn[0], "-t", "tensorrt", "-o", out).returncode == 0
    done = edgekit("build", out)
    if done.returncode == 5:
        assert_refused(done, 5)
    assert_refused(edgekit("build", tmp_path), 6, "not a bundle")


def test_version():
    assert edgekit("--version").stdout.startswith("edgekit ")
