"""The TFLite frontend: a `.tflite` file in, an ONNX graph out. TensorFlow is not involved."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

from edgekit.errors import ModelFileError
from edgekit.frontends.base import Frontend, LoadOptions
from edgekit.frontends.tflite.importer import import_subgraph
from edgekit.frontends.tflite.metadata import preprocessing_of
from edgekit.frontends.tflite.reader import IDENTIFIER, read_model
from edgekit.ir import Model, Source
from edgekit.vocabulary import Layout


class TFLiteFrontend(Frontend):
    """Reads `.tflite` files: float, float16 weights, dynamic-range and full-integer models.

    Names are those of the file's signature where it has one, else those of the tensors. Quantized
    tensors become integers between QuantizeLinear and DequantizeLinear with the file's own
    parameters; a quantized input keeps its integer type.
    """

    def accepts(self, path: Path) -> bool:
        """Whether the name or the identifier in the file says TFLite."""
        if path.suffix == ".tflite" or not path.is_file():
            return path.suffix == ".tflite"
        try:
            with path.open("rb") as file:
                return file.read(8)[4:] == IDENTIFIER
        except OSError:
            return False

    def read(self, path: Path, options: LoadOptions) -> Model:
        """Read the file. See `Frontend.read`."""
        try:
            data = path.read_bytes()
        except OSError as e:
            raise ModelFileError(f"cannot read '{path}': {e.strerror or e}.") from e
        try:
            return self._model(path, data)
        except ModelFileError as e:
            raise ModelFileError(f"{path.name}: {e.message}", hint=e.hint) from e

    def _model(self, path: Path, data: bytes) -> Model:
        contents = read_model(data)
        imported = import_subgraph(contents, path.stem)
        source = Source(
            name=path.stem,
            path=path.name,
            sha256=hashlib.sha256(data).hexdigest(),
            frontend="tflite",
            frontend_version=importlib.metadata.version("ai-edge-litert"),
            notes=imported.notes,
        )
        layouts = dict.fromkeys(imported.images, Layout.NHWC)
        model = Model(imported.graph, layouts=layouts, source=source)
        model.preprocessing = preprocessing_of(contents.metadata, model.signature.inputs)
        return model
