"""Reads PyTorch: `nn.Module` objects and `.pt2` files; refuses pickles unless code is allowed."""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgekit.errors import MissingDependencyError, ModelFileError, UnsupportedError, UsageError
from edgekit.frontends.archive import repack
from edgekit.frontends.base import Frontend, LoadOptions
from edgekit.frontends.child import run_worker
from edgekit.frontends.detect import ZIP_MAGIC, starts_with
from edgekit.frontends.layouts import find_layouts
from edgekit.frontends.onnx import read_graph
from edgekit.frontends.onnx_files import save
from edgekit.frontends.provenance import artifact_name, file_source
from edgekit.frontends.torch_archive import check_export, pickle_globals
from edgekit.ir import Model, Source

_WORKER = "edgekit.frontends.torch_worker"
_EXPORT = "torch.export.save(torch.export.export(model.eval(), example_inputs), 'model.pt2')"


class TorchFrontend(Frontend):
    """Reads exported programs in a child process, and modules where they are, through ONNX."""

    def accepts(self, path: Path) -> bool:
        """Whether it is a `.pt2` archive."""
        return path.suffix.lower() == ".pt2" and path.is_file() and starts_with(path, ZIP_MAGIC)

    def read(self, path: Path, options: LoadOptions) -> Model:
        """Read a `.pt2` file; with `options.allow_code` also a pickled module.

        Raises:
            ModelFileError: if it is damaged or not safe to unpack.
            UnsupportedError: if it holds code, pickles or weights only, or operators without an
                ONNX form.
            UsageError: if it is a pickled module and there are no example inputs.
            MissingDependencyError: if PyTorch is not installed.
        """
        if path.suffix.lower() in (".pt", ".pth"):
            return _read_pickle(self, path, options)
        members = check_export(path, allow_code=options.allow_code)
        _require(f"reading {path.name}")
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            copy = Path(folder) / "model.pt2"
            repack(path, members, copy)
            job = {"path": str(copy), "label": path.name}
            result = run_worker(_WORKER, job, Path(folder), path.name)
            ir = read_graph(Path(folder) / "model.onnx", path.name, in_memory_limit=sys.maxsize)
        source = file_source(path, "torch", result["version"], tuple(result["notes"]))
        return Model(ir, find_layouts(ir.graph), None, source)

    def accepts_object(self, value: object) -> bool:
        """Whether it is an `nn.Module`, told by the names of its classes."""
        return any(
            cls.__name__ == "Module" and cls.__module__ == "torch.nn.modules.module"
            for cls in type(value).__mro__
        )

    def read_object(self, value: Any, options: LoadOptions) -> Model:
        """Read an `nn.Module` in evaluation mode; the module is left as it was.

        Inputs are called after `forward`'s arguments, outputs `output`, `output_1`, ... The first
        axis of every input is the dynamic batch, unless the module fixes it (a note says so).

        Args:
            value: the module.
            options: `example_inputs` are needed: a tensor, a tuple of tensors, or a dict by
                argument name.

        Raises:
            UsageError: if there are no example inputs or they do not fit.
            UnsupportedError: with a reason for each operator without an ONNX form.
        """
        if options.example_inputs is None:
            raise UsageError(
                "a PyTorch module can only be read along with example inputs.",
                hint="edgekit.load(module, example_inputs=torch.zeros(1, 3, 224, 224))",
            )
        _require("reading a PyTorch module")
        import torch

        from edgekit.frontends.torch_export import export_module

        name = artifact_name(type(value).__name__)
        exported = export_module(value, options.example_inputs, name)
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            path = Path(folder) / "model.onnx"
            save(exported.ir, path)
            ir = read_graph(path, name, in_memory_limit=sys.maxsize)
        source = Source(
            name, frontend="torch", frontend_version=torch.__version__, notes=exported.notes
        )
        return Model(ir, find_layouts(ir.graph), None, source)


def _read_pickle(frontend: TorchFrontend, path: Path, options: LoadOptions) -> Model:
    _explain(path)
    if not options.allow_code:
        raise UnsupportedError(
            f"{path.name} is a pickle: reading it would run whatever code it holds.",
            hint=f"export the model instead: {_EXPORT}; or pass --allow-code (allow_code=True) "
            "along with example inputs if you trust the file",
        )
    _require(f"reading {path.name}")
    import torch

    try:
        module = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as e:
        # Unpickling raises whatever the pickled code does.
        line = (str(e).strip() or type(e).__name__).splitlines()[0][:300]
        raise ModelFileError(
            f"{path.name} cannot be unpickled: {line}",
            hint="the modules that define its classes must be importable",
        ) from e
    if not frontend.accepts_object(module):
        raise UnsupportedError(
            f"{path.name} holds a {type(module).__name__}, not a module.", hint=_EXPORT
        )
    read = frontend.read_object(module, options)
    source = file_source(path, "torch", torch.__version__, read.source.notes)
    return Model(read.ir, read.layouts, None, source)


def _explain(path: Path) -> None:
    """Refuse the PyTorch files that are no module at all, saying what they are."""
    used = pickle_globals(path)
    if any(name.startswith("__torch__") for name in used):
        raise UnsupportedError(f"{path.name} is TorchScript, which is not read.", hint=_EXPORT)
    foreign = [n for n in used if not n.startswith(("torch", "collections", "numpy", "_codecs"))]
    modules = [n for n in used if n.startswith("torch.nn.modules")]
    if not foreign and not modules:
        raise UnsupportedError(
            f"{path.name} is a checkpoint: it holds weights without the network.",
            hint=f"load it into its module, then export that: {_EXPORT}",
        )


def _require(needed_for: str) -> None:
    for package in ("torch", "onnxscript"):
        if find_spec(package) is None:
            raise MissingDependencyError(package, extra="torch", needed_for=needed_for)
