"""Reads `.keras` and `.h5` files, and Keras models in memory."""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from edgekit.frontends.archive import check_archive, read_member
from edgekit.frontends.base import Frontend, LoadOptions
from edgekit.frontends.detect import HDF5_MAGIC, ZIP_MAGIC, starts_with
from edgekit.frontends.keras_code import check_config
from edgekit.frontends.onnx import read_graph
from edgekit.frontends.onnx_files import save
from edgekit.frontends.provenance import artifact_name
from edgekit.frontends.tf_child import read_with_tensorflow, require
from edgekit.ir import Model, Source

SUFFIXES = (".keras", ".h5", ".hdf5")

_CONFIG = "config.json"
_CONFIG_LIMIT = 256 << 20
"""Most bytes of a model configuration."""


class KerasFrontend(Frontend):
    """Reads what Keras 3 and Keras 2 save, in a child process, through ONNX."""

    def accepts(self, path: Path) -> bool:
        """Whether it is named like a Keras file and is HDF5 or a zip archive."""
        named = path.suffix.lower() in SUFFIXES
        return named and path.is_file() and starts_with(path, HDF5_MAGIC, ZIP_MAGIC)

    def read(self, path: Path, options: LoadOptions) -> Model:
        """Read the file: with Keras 3, or with tf-keras if Keras 3 cannot.

        Raises:
            ModelFileError: if it is damaged, or an archive that is not safe to unpack.
            UnsupportedError: if it holds code or classes that are not Keras' own and
                `options.allow_code` is off, or layers without an ONNX form.
            MissingDependencyError: if TensorFlow is not installed.
        """
        if starts_with(path, ZIP_MAGIC):
            check_archive(path)
            if not options.allow_code:
                check_config(read_member(path, _CONFIG, _CONFIG_LIMIT), path.name)
        return read_with_tensorflow(path, "keras", options)

    def accepts_object(self, value: object) -> bool:
        """Whether it is a Keras model, told by the names of its classes."""
        return any(
            cls.__name__ == "Model" and cls.__module__.partition(".")[0] in ("keras", "tf_keras")
            for cls in type(value).__mro__
        )

    def read_object(self, value: Any, options: LoadOptions) -> Model:
        """Read a Keras model in memory; its own classes and functions are used as they are.

        Args:
            value: a `keras.Model` or `tf_keras.Model`.
            options: `example_inputs` are called on it if it was never built.

        Raises:
            UnsupportedError: if it is not built, does not run on TensorFlow, or has layers without
                an ONNX form.
        """
        require("tensorflow", "tf2onnx", needed_for="reading a Keras model")
        name = artifact_name(str(getattr(value, "name", "") or type(value).__name__))
        keras = _package(value)
        if keras.__name__ == "keras" and keras.backend.backend() != "tensorflow":
            return self._read_saved(value, name)
        from edgekit.frontends.tf_export import export_keras

        exported = export_keras(value, name, options.example_inputs)
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            path = Path(folder) / "model.onnx"
            save(exported.ir, path)
            ir = read_graph(path, name)
        source = Source(name, frontend="keras", frontend_version=str(keras.__version__))
        return Model(ir, exported.layouts, None, source)

    def _read_saved(self, model: Any, name: str) -> Model:
        """Read a model of another backend by saving it; the worker loads it with TensorFlow."""
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            path = Path(folder) / f"{name}.keras"
            model.save(path)
            read = self.read(path, LoadOptions())
        source = Source(name, frontend="keras", frontend_version=read.source.frontend_version)
        return Model(read.ir, read.layouts, None, source)


def _package(model: Any) -> Any:
    """The Keras that a model belongs to: its `keras` or `tf_keras` module."""
    root = next(
        c.__module__.partition(".")[0] for c in type(model).__mro__ if c.__name__ == "Model"
    )
    return import_module(root)
