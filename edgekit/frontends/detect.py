"""Tells which frontend a path is for, from its name and its first bytes, which must agree."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import ModelFileError, UnsupportedError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
ZIP_MAGIC = b"PK\x03\x04"
TFLITE_MAGIC = b"TFL3"
_TFLITE_OFFSET = 4
_HEAD = 64


@dataclass(frozen=True)
class Kind:
    """One kind of model file.

    Attributes:
        frontend: who reads it.
        words: what messages call it.
        suffixes: those that it may have; the first is the usual one.
    """

    frontend: str
    words: str
    suffixes: tuple[str, ...]


_KERAS = Kind("keras", "a Keras archive", (".keras",))
_HDF5 = Kind("keras", "an HDF5 file", (".h5", ".hdf5"))
_TFLITE = Kind("tflite", "a TFLite model", (".tflite",))
_EXPORT = Kind("torch", "a torch.export archive", (".pt2",))
_TORCH = Kind("torch", "a PyTorch pickle", (".pt", ".pth"))
_SCRIPT = Kind("torch", "a TorchScript archive", (".pt", ".pth"))

_SUFFIXES: Mapping[str, str] = {
    ".onnx": "onnx",
    ".tflite": "tflite",
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
    ".pt2": "torch",
    ".pt": "torch",
    ".pth": "torch",
}

_FOREIGN: Mapping[str, str] = {
    ".pb": "give the folder that holds saved_model.pb; a frozen graph must be re-saved as one",
    ".pbtxt": "give a SavedModel folder",
    ".safetensors": "it holds weights without the network; export the model to ONNX or .pt2",
    ".ckpt": "it holds weights without the network; export the model to ONNX or .pt2",
    ".index": "it belongs to a checkpoint; give a SavedModel folder or a .keras file",
    ".caffemodel": "convert it to ONNX first",
    ".pdmodel": "convert it with paddle2onnx first",
    ".mlmodel": "convert it to ONNX first",
    ".mlpackage": "convert it to ONNX first",
    ".xml": "that is a compiled OpenVINO model; give the model it was made from",
    ".engine": "that is a compiled TensorRT model; give the model it was made from",
    ".plan": "that is a compiled TensorRT model; give the model it was made from",
    ".ort": "that is a compiled ONNX Runtime model; give the .onnx it was made from",
    ".onnxtxt": "save it as binary .onnx",
    ".pkl": "pickles run code when they are read; save the model in its framework's own format",
    ".joblib": "pickles run code when they are read; save the model in its framework's own format",
}


def detect(path: Path, frontend: str | None = None) -> str:
    """Name of the frontend that reads a path.

    Args:
        path: file or folder.
        frontend: who shall read it whatever it is called; None decides.

    Raises:
        ModelFileError: if it is missing, empty, no SavedModel, or not what its suffix says.
        UnsupportedError: if no frontend reads this kind of file.
    """
    if not path.exists():
        raise ModelFileError(f"{path} does not exist.", hint="check the path")
    if path.is_dir():
        if frontend in (None, "saved_model"):
            return _detect_folder(path)
        raise ModelFileError(f"{path} is a folder; the frontend '{frontend}' reads files.")
    if not path.is_file():
        raise ModelFileError(f"{path.name} is neither a file nor a folder.")
    if path.stat().st_size == 0:
        raise ModelFileError(f"{path.name} is empty.", hint="export or copy it again")
    if frontend is not None:
        return frontend
    suffix = path.suffix.lower()
    kind = sniff(path)
    if suffix not in _SUFFIXES:
        raise _unknown(path, suffix, kind)
    expected = _SUFFIXES[suffix]
    if kind is None and expected in ("keras", "tflite"):
        raise ModelFileError(
            f"{path.name} is named {suffix} but does not begin like one.",
            hint="it is damaged, truncated, or something else; export or copy it again",
        )
    if kind is not None and suffix not in kind.suffixes:
        raise ModelFileError(
            f"{path.name} looks like {kind.words} but is named {suffix}.",
            hint=f"rename it to {kind.suffixes[0]}",
        )
    return expected


def sniff(path: Path) -> Kind | None:
    """The kind of a file by its content alone; None where no magic number tells."""
    head = read_head(path)
    if head.startswith(HDF5_MAGIC):
        return _HDF5
    if head[_TFLITE_OFFSET : _TFLITE_OFFSET + len(TFLITE_MAGIC)] == TFLITE_MAGIC:
        return _TFLITE
    if head.startswith(ZIP_MAGIC):
        return _sniff_zip(path)
    if head.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return _TORCH
    return None


def starts_with(path: Path, *magic: bytes) -> bool:
    """Whether a file begins with one of these bytes."""
    return read_head(path).startswith(magic)


def read_head(path: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        ModelFileError: if it cannot be read.
    """
    try:
        with path.open("rb") as f:
            return f.read(_HEAD)
    except OSError as e:
        raise ModelFileError(f"{path.name} cannot be read: {e.strerror or e}.") from e


def _sniff_zip(path: Path) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    inner = {name.partition("/")[2] for name in names}
    if "config.json" in names and "metadata.json" in names:
        return _KERAS
    if "archive_format" in inner or any(n.startswith("models/") for n in inner):
        return _EXPORT
    if "constants.pkl" in inner:
        return _SCRIPT
    return _TORCH if "data.pkl" in inner else None


def _detect_folder(path: Path) -> str:
    if (path / "saved_model.pb").is_file():
        return "saved_model"
    if (path / "saved_model.pbtxt").is_file():
        raise UnsupportedError(
            f"{path.name} is a SavedModel in text form.", hint="save it with as_text=False"
        )
    inside = [p.name for p in sorted(path.iterdir()) if p.suffix.lower() in _SUFFIXES]
    raise ModelFileError(
        f"{path} is a folder without a saved_model.pb, so it is no SavedModel.",
        hint=f"did you mean {path / inside[0]}?" if inside else "give a model file",
    )


def _unknown(path: Path, suffix: str, kind: Kind | None) -> UnsupportedError:
    known = ", ".join(_SUFFIXES)
    named = f"has the suffix '{suffix}'" if suffix else "has no suffix"
    if kind is not None:
        hint = f"it looks like {kind.words}: rename it to {kind.suffixes[0]}, or say " + (
            f"frontend='{kind.frontend}'"
        )
    else:
        hint = _FOREIGN.get(suffix, f"these are read: {known}, and SavedModel folders")
    return UnsupportedError(f"{path.name} {named}, which no frontend reads.", hint=hint)
