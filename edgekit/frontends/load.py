"""`load`: any model, from a file or from memory, into the IR."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit import registry
from edgekit.errors import UsageError
from edgekit.frontends.base import LoadOptions
from edgekit.frontends.detect import detect

if TYPE_CHECKING:
    from edgekit.ir import Model


def load(
    source: str | os.PathLike[str] | object,
    *,
    frontend: str | None = None,
    allow_code: bool = False,
    example_inputs: Any = None,
) -> Model:
    """Read a trained model.

    Args:
        source: path of a `.onnx`, `.tflite`, `.keras`, `.h5` or `.pt2` file or of a SavedModel
            folder, a `torch.nn.Module`, or a Keras model.
        frontend: name of the frontend that shall read it, whatever its suffix; None chooses by
            suffix and content, which must agree.
        allow_code: run code stored in the file (a Keras Lambda layer, a pickle).
        example_inputs: for a PyTorch module, what `forward` takes: a tensor, a tuple of tensors, or
            a dict by argument name. For a Keras model that was never built: what it is called on.

    Returns:
        The model, with the source's own input and output names, order, dtypes and shapes.

    Raises:
        ModelFileError: if the file is missing, damaged, or not what its suffix says.
        UnsupportedError: if it, or an operator in it, cannot be read.
        MissingDependencyError: if the package that reads it is not installed.
        UsageError: if an argument does not fit.
    """
    if frontend is not None and frontend not in registry.FRONTENDS:
        raise UsageError(
            f"there is no frontend '{frontend}'.",
            hint=f"the frontends are {', '.join(registry.FRONTENDS)}",
        )
    options = LoadOptions(allow_code, example_inputs)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        return registry.frontend(detect(path, frontend)).read(path, options)
    for name in registry.FRONTENDS if frontend is None else (frontend,):
        reader = registry.frontend(name)
        if reader.accepts_object(source):
            return reader.read_object(source, options)
    raise UsageError(
        f"an object of type {type(source).__module__}.{type(source).__qualname__} is no model.",
        hint="give a path, a torch.nn.Module, or a Keras model",
    )
