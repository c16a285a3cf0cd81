"""ONNX Runtime, OpenVINO and TensorRT sessions, on files written here."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgekit.errors import DataError, InputError, MissingDependencyError
from edgekit.packages import import_openvino, version_of
from edgekit.runtimes import openvino, tensorrt
from edgekit.runtimes.onnxruntime import OnnxRuntimeRuntime
from edgekit.runtimes.openvino import OpenVINORuntime, compile_properties
from edgekit.runtimes.tensorrt import TensorRTRuntime

TEXT = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[N, 3] first, float[N, 3] second) => (float[N, 3] product, float[N, 3] sum)
{
  sum = Add (first, second)
  product = Mul (first, second)
}
"""


@pytest.fixture
def onnx_file(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(TEXT), path)
    return path


@pytest.fixture
def openvino_file(onnx_file):
    pytest.importorskip("openvino")
    path = onnx_file.with_suffix(".xml")
    module = import_openvino()
    module.save_model(module.Core().read_model(str(onnx_file)), str(path))
    return path


@pytest.fixture(params=["onnxruntime", "openvino"])
def session(request):
    if request.param == "onnxruntime":
        runtime, path = OnnxRuntimeRuntime(), request.getfixturevalue("onnx_file")
    else:
        runtime, path = OpenVINORuntime(), request.getfixturevalue("openvino_file")
    with runtime.open(path, threads=1, trusted=True) as opened:
        yield opened


def test_a_session_keeps_names_order_and_free_batch(session):
    assert [s.name for s in session.signature.inputs] == ["first", "second"]
    assert [s.name for s in session.signature.outputs] == ["product", "sum"]
    assert session.signature.dynamic_batch
    for batch in (1, 4):
        a, b = np.random.default_rng(batch).normal(size=(2, batch, 3)).astype(np.float32)
        out = session.run({"second": b, "first": a})
        assert list(out) == ["product", "sum"]
        np.testing.assert_allclose(out["product"], a * b, rtol=1e-6)
        np.testing.assert_allclose(out["sum"], a + b, rtol=1e-6)


def test_results_are_not_overwritten_by_the_next_run(session):
    ones = np.ones((2, 3), np.float32)
    before = session.run({"first": ones, "second": ones})["sum"]
    session.run({"first": ones * 5, "second": ones})
    np.testing.assert_array_equal(before, ones * 2)


def test_what_does_not_fit_is_refused(session):
    ones = np.ones((2, 3), np.float32)
    with pytest.raises(DataError, match="'second' is missing"):
        session.run({"first": ones})
    with pytest.raises(DataError, match=r"shape \[2, 2\]"):
        session.run({"first": ones[:, :2], "second": ones})


def test_a_fault_at_run_time_is_an_input_error(onnx_file):
    feeds = {"first": np.ones((2, 3), np.float32), "second": np.ones((3, 3), np.float32)}
    with (
        OnnxRuntimeRuntime().open(onnx_file) as session,
        pytest.raises(InputError, match=r"ONNX Runtime fails on .model\.onnx."),
    ):
        session.run(feeds)


@pytest.mark.parametrize("content", [b"", b"\x08\x0anonsense", b"<net></net>"])
def test_damaged_files_are_refused(tmp_path, content):
    for runtime, name in ((OnnxRuntimeRuntime(), "a.onnx"), (OpenVINORuntime(), "a.xml")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InputError, match="refuses 'a"):
            runtime.open(path, trusted=True)


def test_a_damaged_openvino_file_is_tried_in_a_child(openvino_file):
    openvino_file.with_suffix(".bin").write_bytes(b"")
    text = openvino_file.read_text()
    openvino_file.write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match=r"OpenVINO refuses 'model.xml'"):
        OpenVINORuntime().open(openvino_file)


def test_onnxruntime_must_run_on_the_provider_that_was_asked_for(onnx_file, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(
        onnxruntime.InferenceSession, "get_providers", lambda self: ["OtherProvider"]
    )
    with pytest.raises(InputError, match="not on CPUExecutionProvider"):
        OnnxRuntimeRuntime().open(onnx_file)


def test_openvino_computes_in_float32(openvino_file):
    core = import_openvino().Core()
    compiled = core.compile_model(str(openvino_file), "CPU", compile_properties(2))
    assert str(compiled.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 2


def test_openvino_is_loaded_without_telemetry(tmp_path):
    """A fresh process that may neither use the network nor start threads for it."""
    pytest.importorskip("openvino")
    code = f"""
import socket, sys, threading
def refuse(*args, **kwargs):
    raise AssertionError("the network was used")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from edgekit.packages import import_openvino
openvino = import_openvino()
openvino.convert_model
assert "openvino_telemetry" not in sys.modules
assert threading.active_count() == 1, threading.enumerate()
assert not list(__import__("pathlib").Path({str(tmp_path)!r}).iterdir())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin", "PYTHONPATH": _root()},
    )
    assert done.returncode == 0, done.stderr


def _root():
    import edgekit

    return str(Path(edgekit.__file__).parents[1])


def test_openvino_that_is_missing_names_the_extra(openvino_file, monkeypatch):
    monkeypatch.setattr(openvino, "version_of", lambda name: "")
    assert not OpenVINORuntime().probe().usable
    with pytest.raises(MissingDependencyError, match=r"edgekit\[openvino\]"):
        OpenVINORuntime().open(openvino_file)


def test_tensorrt_tells_installed_from_usable(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt, "version_of", lambda name: "1.7" if "rtx" in name else "")
    monkeypatch.setattr(tensorrt, "gpus", lambda: ())
    found = TensorRTRuntime().probe()
    assert (found.installed, found.usable) == (True, False)
    assert found.detail == "tensorrt-rtx 1.7; no NVIDIA GPU"
    for name, words in (
        ("a.plan", "needs an NVIDIA GPU"),
        ("a.rtx.engine", "needs an NVIDIA GPU"),
        ("a.onnx", "is no TensorRT plan"),
    ):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(InputError, match=words):
            TensorRTRuntime().open(tmp_path / name)


def test_tensorrt_without_its_package(tmp_path, monkeypatch):
    (tmp_path / "a.plan").write_bytes(b"x")
    monkeypatch.setattr(tensorrt, "gpus", lambda: ("NVIDIA GPU",))
    monkeypatch.setattr(tensorrt, "version_of", lambda name: "1.7" if "rtx" in name else "")
    with pytest.raises(MissingDependencyError, match=r"edgekit\[tensorrt\]"):
        TensorRTRuntime().open(tmp_path / "a.plan")
    monkeypatch.setattr(tensorrt, "version_of", lambda name: "")
    assert not TensorRTRuntime().probe().installed


def test_probes_import_nothing_heavy():
    code = """
import sys
from edgekit import registry
for name in registry.RUNTIMES:
    registry.runtime(name).probe()
heavy = {"openvino", "ai_edge_litert", "onnxruntime", "tensorrt", "tensorrt_rtx", "tensorflow"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 0


def test_versions_come_from_metadata():
    assert version_of("numpy") == np.__version__
    assert version_of("a-package-that-is-not-there") == ""
