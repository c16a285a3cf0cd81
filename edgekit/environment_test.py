"""Facts about machines: this one, and others by their own words."""

import json

import pytest

from edgekit import environment as module
from edgekit.cpu import Cpu, parse_cpuinfo, parse_sysctl
from edgekit.environment import EXTRAS, Kind, doctor, environment, gpus

X86 = """processor\t: 0
model name\t: Some CPU @ 2.0GHz
flags\t\t: fpu sse2 fma avx2 f16c avx512f avx512_vnni avx512_bf16 amx_tile amx_int8
processor\t: 1
model name\t: Some CPU @ 2.0GHz
flags\t\t: fpu
"""
OLD_X86 = "model name : Old CPU\nflags : fpu sse2 avx2 fma"
ARM = "processor : 0\nFeatures : fp asimd asimdhp asimddp i8mm bf16\nHardware : Some Board\n"
MAC = "machdep.cpu.brand_string: Some Chip\nhw.optional.neon: 1\nhw.optional.arm.FEAT_I8MM: 0\n"


def test_features_of_x86():
    model, features = parse_cpuinfo(X86)
    assert model == "Some CPU @ 2.0GHz"
    assert {"avx2", "avx512_vnni", "avx512_bf16", "amx_int8"} <= set(features)
    assert "fpu" not in features


def test_features_of_arm_and_mac():
    assert parse_cpuinfo(ARM) == ("Some Board", ("bf16", "dotprod", "fp16", "i8mm", "neon"))
    assert parse_sysctl(MAC) == ("Some Chip", ("neon",))
    assert parse_cpuinfo("") == ("", ())


@pytest.mark.parametrize(
    ("architecture", "text", "saturates"),
    [("x86_64", X86, False), ("AMD64", OLD_X86, True), ("aarch64", ARM, False)],
)
def test_only_x86_without_vnni_saturates(architecture, text, saturates):
    model, features = parse_cpuinfo(text)
    assert Cpu(model, architecture, 4, features).saturates_int8 is saturates


def test_the_environment_is_json_and_names_what_is_installed():
    document = json.loads(json.dumps(environment().to_json()))
    assert {"numpy", "onnx", "onnxruntime"} <= set(document["packages"])
    assert all(document["packages"].values())
    assert document["cpu"]["cores"] >= 1
    assert document["memory"] > 1 << 20


def test_gpus_are_named_by_the_driver(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_NVIDIA", tmp_path)
    for index, text in enumerate(("Model: \t NVIDIA Some 4090\nIRQ: 1\n", "IRQ: 2\n")):
        (tmp_path / f"0000:0{index}").mkdir()
        (tmp_path / f"0000:0{index}" / "information").write_text(text)
    assert gpus() == ("NVIDIA Some 4090", "NVIDIA GPU")


def test_a_machine_without_a_driver_has_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_NVIDIA", tmp_path / "absent")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == ()


def test_the_doctor_looks_at_everything():
    findings = {(f.kind, f.name): f for f in doctor()}
    assert {name for kind, name in findings if kind is Kind.EXTRA} == set(EXTRAS)
    assert findings[Kind.RUNTIME, "onnxruntime"].usable
    assert findings[Kind.CONVERTER, "tensorrt"].usable
    for finding in findings.values():
        assert finding.usable or finding.detail


def test_the_doctor_gives_the_pip_line_for_what_is_missing(monkeypatch):
    monkeypatch.setattr(module, "version_of", lambda name: "" if name == "openvino" else "1.0")
    findings = {(f.kind, f.name): f for f in doctor()}
    for kind in (Kind.EXTRA, Kind.CONVERTER):
        finding = findings[kind, "openvino"]
        assert not finding.usable
        assert "openvino" in finding.detail
        assert finding.install == "pip install 'edgekit[openvino]'"
    assert findings[Kind.EXTRA, "tflite"].install == ""
