"""Checks the tensors of an ONNX file, inside it and beside it, before anything reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
import onnx_ir

from edgekit.errors import ModelFileError

IN_MEMORY_LIMIT = 1 << 30
"""Bytes of external data up to which constants are read at once; above, they stay mapped files."""

_TYPED_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
_BYTE = 8
"""Bits below which several elements share one entry of `int32_data`."""


def tensors_of(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a graph and its subgraphs: initializers and attributes."""
    yield from graph.initializer
    for node in graph.node:
        yield from node_tensors(node)


def node_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    """Every tensor in the attributes of a node, subgraphs included."""
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            yield from tensors_of(graph)


def check_tensor(tensor: onnx.TensorProto, folder: Path, label: str) -> None:
    """Check that a tensor has exactly the data that its type and shape need.

    Args:
        tensor: an initializer or attribute.
        folder: folder of the model file; external data must lie in it.
        label: the model's file name, for messages.

    Raises:
        ModelFileError: if data is missing, too short, too long, or outside the folder.
    """
    where = f"constant '{tensor.name}' of {label}"
    try:
        dtype = onnx_ir.DataType(tensor.data_type)
    except ValueError as e:
        raise ModelFileError(f"{where} has the unknown type {tensor.data_type}.") from e
    if any(d < 0 for d in tensor.dims) or dtype == onnx_ir.DataType.UNDEFINED:
        raise ModelFileError(f"{where} has no valid type and shape.")
    if tensor.HasField("segment"):
        raise ModelFileError(f"{where} is stored in segments, which no runtime reads.")
    elements = 1
    for d in tensor.dims:
        elements *= d
    if dtype == onnx_ir.DataType.STRING:
        _check_count(len(tensor.string_data), elements, where)
        return
    need = (elements * dtype.bitwidth + 7) // 8
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        _check_external(tensor, need, folder, where)
    elif tensor.HasField("raw_data"):
        _check_count(len(tensor.raw_data), need, where, "bytes")
    else:
        _check_typed(tensor, dtype, elements, where)


def _check_typed(
    tensor: onnx.TensorProto, dtype: onnx_ir.DataType, elements: int, where: str
) -> None:
    count = sum(len(getattr(tensor, field)) for field in _TYPED_FIELDS)
    if dtype in (onnx_ir.DataType.COMPLEX64, onnx_ir.DataType.COMPLEX128):
        elements *= 2
    elif dtype.bitwidth < _BYTE:
        elements = (elements * dtype.bitwidth + 7) // 8
    _check_count(count, elements, where)


def _check_count(found: int, need: int, where: str, unit: str = "values") -> None:
    if found != need:
        raise ModelFileError(f"{where} holds {found} {unit} where its shape needs {need}.")


def _check_external(tensor: onnx.TensorProto, need: int, folder: Path, where: str) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = _external_path(entries.get("location", ""), folder, where)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", need))
        size = path.stat().st_size
    except ValueError as e:
        raise ModelFileError(f"{where} has an external offset or length that is no number.") from e
    if length != need:
        raise ModelFileError(f"{where} has {length} external bytes where its shape needs {need}.")
    if offset < 0 or offset + length > size:
        raise ModelFileError(
            f"{where} lies at bytes {offset} to {offset + length} of {path.name}, which has only "
            f"{size} bytes.",
            hint="the data file is truncated; copy it again",
        )


def _external_path(location: str, folder: Path, where: str) -> Path:
    parts = PurePosixPath(location).parts
    windows = PureWindowsPath(location)
    if not location or location.startswith("/") or windows.drive or ".." in windows.parts:
        raise ModelFileError(
            f"{where} points to data outside the model's folder: {location!r}.",
            hint="external data must have a relative path inside the folder of the .onnx file",
        )
    path = folder.joinpath(*parts)
    if not path.is_file():
        raise ModelFileError(
            f"{where} is stored in '{location}', which is not beside the model.",
            hint="copy the external data files along with the .onnx file",
        )
    real, root = path.resolve(), folder.resolve()
    if not real.is_relative_to(root):
        raise ModelFileError(f"{where} leaves the model's folder by a link: {location!r}.")
    if real.stat().st_nlink > 1:
        raise ModelFileError(
            f"{where} is stored in '{location}', which is a hard link to another file.",
            hint="copy the file instead of linking it",
        )
    return path


def settle(model: onnx_ir.Model, folder: Path, limit: int = IN_MEMORY_LIMIT) -> None:
    """Give external tensors their folder, and read them unless they are too large for memory.

    Args:
        model: a model whose tensors passed `check_tensor`; changed in place.
        folder: folder of the model file.
        limit: bytes of external data up to which they are read into memory.
    """
    onnx_ir.external_data.set_base_dir(model.graph, str(folder.resolve()))
    constants = [v for graph in model.graphs() for v in graph.initializers.values()]
    external = [v for v in constants if isinstance(v.const_value, onnx_ir.ExternalTensor)]
    if sum(v.const_value.nbytes for v in external if v.const_value is not None) > limit:
        return
    for value in external:
        tensor = value.const_value
        if isinstance(tensor, onnx_ir.ExternalTensor):
            value.const_value = onnx_ir.Tensor(
                tensor.numpy().copy(), dtype=tensor.dtype, name=tensor.name
            )
            tensor.release()
