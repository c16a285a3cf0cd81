import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bundle import Artifact, Bundle, File, Manifest, Port, Verification
from edgekit.bundle.manifest import json_schema
from edgekit.errors import EdgeKitError, InputError, Reason, UsageError
from edgekit.ir import TensorSpec
from edgekit.vocabulary import Layout

HASH = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"  # of b"foo"


def manifest(path="tflite/m.int8.tflite"):
    port = Port(TensorSpec("x", "int8", ("N", 8, 8, 1), Layout.NHWC), 0.5, -128)
    artifact = Artifact(
        "tflite",
        "int8",
        path,
        HASH,
        3,
        "verified",
        (port,),
        (port,),
        (File(path, HASH, 3),),
        Verification("tflite 2", 4, "calibration", 0.75, None, 0.0),
        (Reason("n", "Softmax", "why", "hint"),),
        ("a note",),
    )
    source = {
        "name": "m",
        "path": "m.onnx",
        "sha256": HASH,
        "frontend": "onnx",
        "frontend_version": "1",
        "notes": [],
    }
    options = {
        "targets": ["tflite"],
        "precision": "int8",
        "io": "int8",
        "io_layout": None,
        "cpu": "portable",
    }
    return Manifest("0.1.0", source, options, {}, None, None, (artifact,))


def save(folder, document):
    (folder / "manifest.json").write_text(json.dumps(document))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tflite").mkdir()
    (tmp_path / "tflite" / "m.int8.tflite").write_bytes(b"foo")
    save(tmp_path, manifest().to_json())
    return tmp_path


def test_round_trip():
    document = json.loads(json.dumps(manifest().to_json()))
    assert Manifest.from_json(document) == manifest()


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_open_and_check(folder):
    bundle = Bundle.open(folder)
    artifact = bundle.artifact("tflite")
    assert bundle.resolve(artifact.path).read_bytes() == b"foo"
    bundle.check()
    with pytest.raises(UsageError, match="no artifact for 'openvino'"):
        bundle.artifact("openvino")


def test_a_changed_file_is_found(folder):
    (folder / "tflite" / "m.int8.tflite").write_bytes(b"bar")
    with pytest.raises(InputError, match="hash differs"):
        Bundle.open(folder).check()
    (folder / "tflite" / "m.int8.tflite").unlink()
    with pytest.raises(InputError, match="is missing"):
        Bundle.open(folder).check()


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\\..\\x"])
def test_a_path_that_leads_out_is_refused(tmp_path, path):
    save(tmp_path, manifest(path).to_json())
    with pytest.raises(InputError, match="leads out"):
        Bundle.open(tmp_path)


def test_a_link_that_leads_out_is_refused(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "b" / "tflite").symlink_to(tmp_path)
    save(tmp_path / "b", manifest("tflite/secret").to_json())
    with pytest.raises(InputError, match="leads out"):
        Bundle.open(tmp_path / "b")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "not valid"),
        ({}, "not valid at the top"),
        ({**manifest().to_json(), "version": 9}, "version 9"),
        ({**manifest().to_json(), "artifacts": [{}]}, "artifacts/0"),
    ],
)
def test_a_damaged_manifest(tmp_path, document, message):
    save(tmp_path, document)
    with pytest.raises(InputError, match=message):
        Bundle.open(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "\x00", "[" * 100_000])
def test_not_json(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="cannot be read"):
        Bundle.open(tmp_path)


def test_no_bundle(tmp_path):
    with pytest.raises(InputError, match="not a bundle"):
        Bundle.open(tmp_path)


PATHS = st.sampled_from(
    [
        ("version",),
        ("edgekit",),
        ("source",),
        ("source", "name"),
        ("options", "targets"),
        ("artifacts",),
        ("artifacts", 0),
        ("artifacts", 0, "path"),
        ("artifacts", 0, "verification"),
        ("artifacts", 0, "inputs", 0, "shape"),
        ("artifacts", 0, "files", 0, "bytes"),
        ("artifacts", 0, "float_nodes", 0),
    ]
)
VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())


@given(PATHS, VALUES)
def test_any_change_is_read_or_refused_cleanly(path, value):
    document = json.loads(json.dumps(manifest().to_json()))
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    try:
        read = Manifest.from_json(document)
    except EdgeKitError:
        return
    assert read.to_json() == document
