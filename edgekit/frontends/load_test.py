"""`load`: which frontend is chosen, and what is said about everything that is no model."""

from __future__ import annotations

import importlib.util
import json
import stat
import zipfile

import numpy as np
import onnx
import pytest

from edgekit.errors import (
    EdgeKitError,
    MissingDependencyError,
    ModelFileError,
    UnsupportedError,
    UsageError,
)
from edgekit.frontends.archive import ArchiveLimits, check_archive, repack
from edgekit.frontends.load import load
from edgekit.frontends.provenance import artifact_name, sha256_of
from edgekit.testing.damage import damaged

HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(100)
TFLITE = b"\x1c\0\0\0TFL3" + bytes(100)


def write(folder, name, content=b"x" * 100):
    path = folder / name
    path.write_bytes(content)
    return path


def identity(folder, name="model.onnx"):
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Relu(x) }'
    return write(folder, name, onnx.parser.parse_model(text).SerializeToString())


def archive(folder, name, members):
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as f:
        for member, content in members.items():
            f.writestr(member, content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.onnx", b"", "is empty"),
        ("model.h5", TFLITE, "looks like a TFLite model but is named .h5"),
        ("model.onnx", HDF5, "looks like an HDF5 file but is named .onnx"),
        ("model.tflite", HDF5, "looks like an HDF5 file but is named .tflite"),
        ("model.keras", HDF5, "looks like an HDF5 file but is named .keras"),
        ("model.keras", b"x" * 99, "does not begin like one"),
        ("model.h5", b"x" * 99, "does not begin like one"),
        ("model.tflite", b"x" * 99, "does not begin like one"),
        ("model.pt2", b"x" * 99, "zip archive"),
        ("model.pt", b"x" * 99, "pickle"),
    ],
)
def test_content_must_fit_the_suffix(tmp_path, name, content, message):
    with pytest.raises(ModelFileError, match=message):
        load(write(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("model.bin", b"x", "SavedModel folders"),
        ("model", b"x", "has no suffix"),
        ("model.bin", HDF5, "frontend='keras'"),
        ("frozen.pb", b"x", "folder that holds saved_model.pb"),
        ("net.safetensors", b"x", "weights without the network"),
        ("net.engine", b"x", "compiled TensorRT"),
        ("net.pkl", b"x", "pickles run code"),
    ],
)
def test_unknown_suffixes(tmp_path, name, content, hint):
    with pytest.raises(UnsupportedError, match=hint):
        load(write(tmp_path, name, content))


def test_missing_file_and_folders(tmp_path):
    with pytest.raises(ModelFileError, match="does not exist"):
        load(tmp_path / "none.onnx")
    with pytest.raises(ModelFileError, match=r"no SavedModel"):
        load(tmp_path)
    identity(tmp_path)
    with pytest.raises(ModelFileError, match=r"did you mean .*model\.onnx"):
        load(tmp_path)
    with pytest.raises(ModelFileError, match="reads files"):
        load(tmp_path, frontend="onnx")
    write(tmp_path, "saved_model.pbtxt")
    with pytest.raises(UnsupportedError, match="text form"):
        load(tmp_path)


def test_frontend_by_name(tmp_path):
    path = identity(tmp_path, "model.bin")
    assert load(path, frontend="onnx").source.frontend == "onnx"
    assert load(str(path), frontend="onnx").name == "model"
    with pytest.raises(UsageError, match="no frontend 'caffe'"):
        load(path, frontend="caffe")


@pytest.mark.parametrize("value", [3, None, np.zeros(3), object()])
def test_other_objects(value):
    with pytest.raises(UsageError, match="is no model"):
        load(value)


@pytest.mark.parametrize(
    ("name", "content", "package", "extra"),
    [
        ("model.h5", HDF5, "tensorflow", "edgekit[keras]"),
        ("model.pt2", None, "torch", "edgekit[torch]"),
    ],
)
def test_missing_packages(tmp_path, monkeypatch, name, content, package, extra):
    path = tmp_path / name
    if content is None:
        archive(tmp_path, name, {"m/models/model.json": "{}"})
    else:
        write(tmp_path, name, content)
    real = importlib.util.find_spec
    for module in ("tf_child", "torch"):
        monkeypatch.setattr(
            f"edgekit.frontends.{module}.find_spec", lambda n: None if n == package else real(n)
        )
    with pytest.raises(MissingDependencyError, match=package) as error:
        load(path)
    assert error.value.hint == f"pip install '{extra}'"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("resnet8", "resnet8"),
        ("../../etc/passwd", "etc_passwd"),
        ("näh mal", "n_h_mal"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("///", "model"),
        ("a" * 300, "a" * 100),
    ],
)
def test_artifact_names_are_safe(text, name):
    assert artifact_name(text) == name


def test_hash_of_a_folder_depends_on_names_and_contents(tmp_path):
    hashes = set()
    for names in (("a", "b"), ("a", "c")):
        folder = tmp_path / "".join(names)
        folder.mkdir()
        for name in names:
            write(folder, name)
        hashes.add(sha256_of(folder))
    write(tmp_path / "ab", "a", b"other")
    assert sha256_of(tmp_path / "ab") not in hashes
    assert len(hashes) == 2


KERAS = {"metadata.json": "{}", "config.json": "{}", "model.weights.h5": HDF5}


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:/evil"])
def test_archive_members_that_leave_it(tmp_path, name):
    path = archive(tmp_path, "model.keras", {**KERAS, name: b"x"})
    with pytest.raises(ModelFileError, match="refused before unpacking"):
        load(path)


def test_archive_with_a_link(tmp_path):
    path = archive(tmp_path, "model.keras", KERAS)
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as f:
        f.writestr(link, "/etc/passwd")
    with pytest.raises(ModelFileError, match="symbolic link"):
        load(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archive_with_a_name_twice(tmp_path):
    path = archive(tmp_path, "model.keras", KERAS)
    with zipfile.ZipFile(path, "a") as f:
        f.writestr("config.json", '{"class_name": "Lambda"}')
    with pytest.raises(ModelFileError, match="occurs twice"):
        load(path)


def test_zip_bomb(tmp_path):
    path = archive(tmp_path, "model.keras", {**KERAS, "model.weights.h5": bytes(200 << 20)})
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ModelFileError, match="would unpack to"):
        load(path)


def test_archive_with_too_many_members(tmp_path):
    path = archive(tmp_path, "model.zip", {f"m{i}": b"" for i in range(9)})
    with pytest.raises(ModelFileError, match="9 members"):
        check_archive(path, ArchiveLimits(entries=8))
    assert len(check_archive(path)) == 9


def test_repacked_archive_has_the_same_members(tmp_path):
    path = archive(tmp_path, "model.zip", {"a/b": b"one", "c": b"two" * 1000})
    repack(path, check_archive(path), tmp_path / "fresh.zip")
    with zipfile.ZipFile(tmp_path / "fresh.zip") as f:
        assert {n: f.read(n) for n in f.namelist()} == {"a/b": b"one", "c": b"two" * 1000}


def config(**layer):
    return json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}})


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ({"class_name": "Lambda", "config": {"name": "lam"}}, "'lam': holds Python code"),
        ({"class_name": "__lambda__", "config": {"value": "x"}}, "holds Python code"),
        ({"module": "keras.layers", "class_name": "Lambda", "config": {}}, "holds Python code"),
        ({"class_name": "Foo>Bar", "config": {"name": "bar"}}, "'bar': is not one of Keras' own"),
        ({"module": "os", "class_name": "system", "config": "true"}, "is not one of Keras' own"),
        (
            {"module": "keras.utils", "class_name": "get_file", "config": {}},
            "not one of Keras' own",
        ),
        ({"registered_name": "my>L", "class_name": "L", "config": {}}, "not one of Keras' own"),
        ({"class_name": "TFOpLambda", "config": {"function": "io.write_file"}}, "reach outside"),
        ({"config": {"function_type": "lambda", "function": ["4wEAAA=="]}}, "holds Python code"),
    ],
)
def test_code_in_a_keras_configuration_is_refused_unread(tmp_path, layer, reason):
    path = archive(tmp_path, "model.keras", {**KERAS, "config.json": config(**layer)})
    with pytest.raises(UnsupportedError) as error:
        load(path)
    assert reason in str(error.value)
    assert "allow" in str(error.value)


def test_damaged_archives_never_raise_anything_else(tmp_path):
    path = archive(tmp_path, "model.keras", {**KERAS, "config.json": config(class_name="Lambda")})
    content = path.read_bytes()
    outcomes = set()
    for seed in range(300):
        path.write_bytes(damaged(content, seed))
        try:
            check_archive(path)
            outcomes.add("sound")
        except EdgeKitError as e:
            outcomes.add(type(e).__name__)
    assert outcomes == {"sound", "ModelFileError"}
