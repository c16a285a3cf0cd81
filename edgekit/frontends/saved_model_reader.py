"""Reads TensorFlow SavedModel folders; worker only."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from edgekit.errors import ModelFileError, UnsupportedError
from edgekit.frontends.graph_edges import Port
from edgekit.frontends.tf_export import Exported, export_function
from edgekit.frontends.tf_graph_safety import refuse_unsafe
from edgekit.vocabulary import Layout

_DEFAULT = "serving_default"
_INIT = "__saved_model_init_op"
_COMPILED = "_XlaMustCompile"
_SLOTS = "read without its optimizer, whose state this TensorFlow cannot restore"


def read_saved_model(path: Path, label: str) -> tuple[Exported, str, list[str]]:
    """Read the serving signature of a SavedModel and export it.

    Args:
        path: the folder.
        label: what messages call it.

    Returns:
        The exported model, the version of TensorFlow, and notes.

    Raises:
        ModelFileError: if it is damaged or has no signature to serve.
        UnsupportedError: if its graph runs code, touches files, or has no ONNX form.
    """
    proto = _parse(path, label)
    refuse_unsafe((meta.graph_def for meta in proto.meta_graphs), label)
    key = _signature(proto, label)
    notes = [] if key == _DEFAULT else [f"signature '{key}', the only one"]
    folder = path
    optimizer, compiled = _drop_optimizer(proto), _drop_compilation(proto)
    if optimizer or compiled:
        folder = _rewritten(proto, path)
    if optimizer:
        notes.append(_SLOTS)
    loaded = _load(folder, label)
    signature = loaded.signatures[key]
    inputs, outputs, call = _calling(signature)
    exported = export_function(call, inputs, outputs, label, Layout.NHWC)
    return exported, str(tf.__version__), notes


def _parse(path: Path, label: str) -> Any:
    proto = SavedModel()
    try:
        proto.ParseFromString((path / "saved_model.pb").read_bytes())
    except (DecodeError, OSError) as e:
        raise ModelFileError(f"saved_model.pb of {label} is damaged: {e}.") from e
    if not proto.meta_graphs:
        raise ModelFileError(f"saved_model.pb of {label} holds no graph.")
    return proto


def _signature(proto: Any, label: str) -> str:
    serving = [m for m in proto.meta_graphs if "serve" in m.meta_info_def.tags]
    if not serving:
        raise ModelFileError(
            f"{label} has no graph with the tag 'serve'.", hint="export it for serving"
        )
    keys = sorted(k for k in serving[0].signature_def if k != _INIT)
    if _DEFAULT in keys or len(keys) == 1:
        return _DEFAULT if _DEFAULT in keys else keys[0]
    known = ", ".join(keys) or "none"
    raise ModelFileError(
        f"{label} has no signature '{_DEFAULT}' (signatures: {known}).",
        hint="save it with signatures={'serving_default': ...}, or with model.export",
    )


def _drop_optimizer(proto: Any) -> bool:
    """Forget the slot variables of optimizers that Keras 2 saved; whether there were any."""
    dropped = False
    for meta in proto.meta_graphs:
        for node in meta.object_graph_def.nodes:
            if node.slot_variables:
                del node.slot_variables[:]
                dropped = True
    return dropped


def _drop_compilation(proto: Any) -> bool:
    """Forget which functions XLA must compile, so that they can be inlined; whether any must."""
    dropped = False
    for meta in proto.meta_graphs:
        functions = meta.graph_def.library.function
        holders = [*meta.graph_def.node, *functions, *(n for f in functions for n in f.node_def)]
        for holder in holders:
            if _COMPILED in holder.attr:
                del holder.attr[_COMPILED]
                dropped = True
    return dropped


def _rewritten(proto: Any, path: Path) -> Path:
    folder = Path("saved_model").resolve()
    folder.mkdir()
    for entry in path.resolve().iterdir():
        if entry.name == "saved_model.pb":
            (folder / entry.name).write_bytes(proto.SerializeToString())
        elif entry.name != "keras_metadata.pb":
            (folder / entry.name).symlink_to(entry)
    return folder


def _load(folder: Path, label: str) -> Any:
    try:
        return tf.saved_model.load(str(folder))
    except Exception as e:
        # TensorFlow reports damage by whatever exception it leads to.
        line = (str(e).strip() or type(e).__name__).splitlines()[0][:300]
        raise ModelFileError(
            f"{label} cannot be loaded by TensorFlow {tf.__version__}: {line}",
            hint="it is damaged or incomplete: saved_model.pb needs the folder 'variables'",
        ) from e


def _calling(
    signature: Any,
) -> tuple[list[Port], list[str], Callable[..., Sequence[Any]]]:
    """The inputs and outputs of a signature in a stable order, and a function over them."""
    specs = signature.structured_input_signature[1]
    names = sorted(specs, key=_natural)
    outputs = sorted(signature.structured_outputs, key=_natural)

    def call(*tensors: Any) -> list[Any]:
        results = signature(**dict(zip(names, tensors, strict=True)))
        return [results[name] for name in outputs]

    ports = [Port(name, _sizes(specs[name]), specs[name].dtype) for name in names]
    if not ports or not outputs:
        raise UnsupportedError("the signature takes or gives nothing.")
    return ports, outputs, call


def _sizes(spec: Any) -> tuple[int | None, ...] | None:
    return None if spec.shape.rank is None else tuple(spec.shape.as_list())


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key under which `output_2` comes before `output_10`."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part)) if part.isdigit() else (0, part) for part in parts]
