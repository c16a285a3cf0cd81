"""Reads TensorFlow SavedModel folders."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import ModelFileError
from edgekit.frontends.base import Frontend, LoadOptions
from edgekit.frontends.tf_child import read_with_tensorflow
from edgekit.ir import Model

GRAPH_FILE = "saved_model.pb"


class SavedModelFrontend(Frontend):
    """Reads the serving signature of a SavedModel, in a child process, through ONNX."""

    def accepts(self, path: Path) -> bool:
        """Whether it is a folder with a `saved_model.pb`."""
        return (path / GRAPH_FILE).is_file()

    def read(self, path: Path, options: LoadOptions) -> Model:
        """Read the folder.

        Raises:
            ModelFileError: if it is damaged, incomplete, or has no signature to serve.
            UnsupportedError: if its graph runs code or touches files, or has no ONNX form.
            MissingDependencyError: if TensorFlow is not installed.
        """
        if not self.accepts(path):
            raise ModelFileError(f"{path.name} is no SavedModel: it has no {GRAPH_FILE}.")
        return read_with_tensorflow(path, "saved_model", options)
