"""Reads `.keras` and `.h5` files with Keras 3, or with tf-keras what Keras 2 wrote; worker only."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingDependencyError, ModelFileError, UnsupportedError
from edgekit.frontends.archive import extract_member, read_member
from edgekit.frontends.hdf5 import check_contents, keras_version, model_config
from edgekit.frontends.keras_code import check_config

if TYPE_CHECKING:
    from edgekit.frontends.tf_export import Exported

_FALLBACK = "read by tf-keras, since Keras 3 cannot read it ({})"
_INNER = "Exception encountered:"
"""Keras wraps what went wrong in dumps of the layer's configuration; this comes before it."""

_METADATA_LIMIT = 1 << 20
_NEEDED_FOR = "reading Keras models"


def read_keras(path: Path, label: str, allow_code: bool) -> tuple[Exported, str, list[str]]:
    """Read a Keras file and export it.

    Args:
        path: a `.h5` file, or a `.keras` archive that passed `check_archive`.
        label: what messages call it.
        allow_code: deserialize code stored in the file.

    Returns:
        The exported model, the version of the Keras that read it, and notes.

    Raises:
        ModelFileError: if it is damaged.
        UnsupportedError: if it holds code, foreign classes, or layers without an ONNX form.
        MissingDependencyError: if TensorFlow or Keras is not installed.
    """
    archive = zipfile.is_zipfile(path)
    _look_through(path, label, archive, allow_code)
    model, version, notes = _load(path, label, archive, allow_code)
    from edgekit.frontends.tf_export import export_keras

    return export_keras(model, label), version, notes


def _look_through(path: Path, label: str, archive: bool, allow_code: bool) -> None:
    if not archive:
        if not allow_code:
            check_config(model_config(path, label), label)
        check_contents(path, label)
        return
    for number, name in enumerate(_weight_files(path)):
        copy = Path(f"weights_{number}.h5")
        extract_member(path, name, copy)
        check_contents(copy, f"{name} in {label}")
        copy.unlink()


def _weight_files(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return [name for name in archive.namelist() if name.endswith(".h5")]


def _load(path: Path, label: str, archive: bool, allow_code: bool) -> tuple[Any, str, list[str]]:
    keras = _import("keras", "tensorflow")
    try:
        return _attempt(keras.saving.load_model, path, allow_code), keras.__version__, []
    except Exception as error:
        # Keras reports a damaged file by whatever exception it leads to.
        first = _line(error)
        if _written_by_keras_3(path, archive):
            raise ModelFileError(
                f"{label} is not readable by Keras {keras.__version__}: {first}.",
                hint="it is damaged, or needs another version of Keras",
            ) from error
    legacy = _import("tf_keras", "tf-keras")
    try:
        model = _attempt(legacy.models.load_model, path, allow_code)
    except Exception as e:
        raise _failure(label, first, _line(e)) from e
    return model, legacy.__version__, [_FALLBACK.format(first)]


def _written_by_keras_3(path: Path, archive: bool) -> bool:
    if not archive:
        return keras_version(path, path.name).startswith("3")
    try:
        metadata = json.loads(read_member(path, "metadata.json", _METADATA_LIMIT))
    except (ModelFileError, ValueError, RecursionError):
        return False
    return isinstance(metadata, dict) and str(metadata.get("keras_version")).startswith("3")


def _attempt(load: Callable[..., Any], path: Path, allow_code: bool) -> Any:
    return load(str(path), compile=False, safe_mode=not allow_code)


def _failure(label: str, first: str, second: str) -> ModelFileError | UnsupportedError:
    foreign = "Unknown layer" in second or "Could not locate class" in first
    if foreign:
        return UnsupportedError(
            f"{label} has layers that neither Keras 3 nor tf-keras knows: {first}",
            hint="load it with its custom_objects and pass the model to edgekit.load",
        )
    return ModelFileError(
        f"{label} is readable neither by Keras 3 ({first}) nor by tf-keras ({second}).",
        hint="it is damaged, or needs another version of Keras",
    )


def _import(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as e:
        raise MissingDependencyError(package, extra="keras", needed_for=_NEEDED_FOR) from e


def _line(error: Exception) -> str:
    inner = str(error).rpartition(_INNER)[2]
    lines = [line.strip() for line in inner.splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
