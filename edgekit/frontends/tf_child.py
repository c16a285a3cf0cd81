"""Has the TensorFlow worker read a file, and brings its graph back into the IR."""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from edgekit.errors import MissingDependencyError
from edgekit.frontends.base import LoadOptions
from edgekit.frontends.child import run_worker
from edgekit.frontends.onnx import read_graph
from edgekit.frontends.provenance import file_source
from edgekit.ir import Model
from edgekit.vocabulary import Layout

_WORKER = "edgekit.frontends.tf_worker"


def read_with_tensorflow(path: Path, kind: str, options: LoadOptions) -> Model:
    """Read a Keras or SavedModel file without importing TensorFlow here.

    Args:
        path: file or folder.
        kind: `keras` or `saved_model`, also the frontend's name.
        options: how to read it.

    Raises:
        MissingDependencyError: if TensorFlow or tf2onnx is not installed.
        EdgeKitError: what the worker reports.
    """
    require("tensorflow", "tf2onnx", needed_for=f"reading {path.name}")
    job = {
        "kind": kind,
        "path": str(path.resolve()),
        "label": path.name,
        "allow_code": options.allow_code,
    }
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        result = run_worker(_WORKER, job, Path(folder), path.name)
        ir = read_graph(Path(folder) / "model.onnx", path.name, in_memory_limit=sys.maxsize)
    layouts = {name: Layout(word) for name, word in result["layouts"].items()}
    source = file_source(path, kind, result["version"], tuple(result["notes"]))
    return Model(ir, layouts, None, source)


def require(*packages: str, needed_for: str) -> None:
    """Make sure that packages can be imported, without importing them.

    Raises:
        MissingDependencyError: for the first that is missing.
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingDependencyError(package, extra="keras", needed_for=needed_for)
