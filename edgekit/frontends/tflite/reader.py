"""From the bytes of a `.tflite` file to typed data, every reference checked.

Field slots are those of the published schema (`schema.fbs`); a slot never changes its meaning.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import MissingDependencyError, ModelFileError, UnsupportedError
from edgekit.frontends.tflite.constants import decode_constant
from edgekit.frontends.tflite.flatbuffer import FlatBuffer, Table
from edgekit.frontends.tflite.model import (
    Operator,
    Quantization,
    Shape,
    SignatureNames,
    Subgraph,
    Tensor,
    TFLiteModel,
)

if TYPE_CHECKING:
    from types import ModuleType

IDENTIFIER = b"TFL3"
_MAX_RANK = 8
_DAMAGE = (struct.error, ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError)
_CUSTOM = 32
_VERSION = 3


def read_model(data: bytes) -> TFLiteModel:
    """Parse a file.

    Args:
        data: the whole file; constants are views of it.

    Raises:
        ModelFileError: if it is not a TFLite file, is damaged, or breaks a rule that the runtime
            enforces when it opens a file.
        UnsupportedError: if it uses a storage form that is not known here.
        MissingDependencyError: if the package with the schema is not installed.
    """
    if len(data) < 16 or data[4:8] != IDENTIFIER:
        raise ModelFileError(
            "this is not a TFLite model: the identifier 'TFL3' is missing.",
            hint="check that the file was downloaded or exported completely",
        )
    schema()
    try:
        return _Reader(FlatBuffer(data)).read()
    except _DAMAGE as e:
        raise ModelFileError(
            f"the TFLite file is damaged: {e}.", hint="export or download it again"
        ) from e


@cache
def schema() -> ModuleType:
    """The generated schema module.

    Raises:
        MissingDependencyError: if it is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as e:
        raise MissingDependencyError(
            "ai-edge-litert", extra="tflite", needed_for="reading a .tflite file"
        ) from e
    module: ModuleType = schema_py_generated
    return module


@cache
def names_of(enum: str) -> dict[int, str]:
    """Number → name of one of the schema's enumerations."""
    members = vars(getattr(schema(), enum)).items()
    return {value: name for name, value in members if isinstance(value, int)}


class _Reader:
    def __init__(self, buffer: FlatBuffer) -> None:
        self._buffer = buffer
        self._model = buffer.root()
        self._buffers = self._model.tables(4)
        self._codes = [_opcode(table) for table in self._model.tables(1)]

    def read(self) -> TFLiteModel:
        version = self._model.scalar(0, "I")
        if version != _VERSION:
            raise ModelFileError(f"the TFLite file has schema version {version}, not {_VERSION}.")
        subgraphs = tuple(self._subgraph(table) for table in self._model.tables(2))
        if not subgraphs:
            raise ModelFileError("the TFLite file has no subgraph.")
        signatures = (_signature(table, len(subgraphs)) for table in self._model.tables(7))
        return TFLiteModel(subgraphs, tuple(signatures), self._metadata())

    def _metadata(self) -> dict[str, bytes]:
        entries = ((t.text(0), t.scalar(1, "I")) for t in self._model.tables(6))
        return {name: bytes(self._bytes(index) or b"") for name, index in entries}

    def _subgraph(self, table: Table) -> Subgraph:
        tensors = tuple(self._tensor(i, t) for i, t in enumerate(table.tables(0)))
        operators = tuple(self._operator(i, t) for i, t in enumerate(table.tables(3)))
        inputs, outputs = table.integers(1), table.integers(2)
        for operator in operators:
            _check_indices(operator.inputs, len(tensors), operator.kind, optional=True)
            _check_indices(operator.outputs, len(tensors), operator.kind, optional=True)
        _check_indices(inputs, len(tensors), "the subgraph")
        _check_indices(outputs, len(tensors), "the subgraph")
        return Subgraph(table.text(4), tensors, operators, inputs, outputs)

    def _tensor(self, index: int, table: Table) -> Tensor:
        name = table.text(3)
        where = f"tensor {index} ('{name}')"
        dtype = names_of("TensorType").get(table.scalar(1, "b"), "")
        if not dtype:
            raise ModelFileError(f"{where} has an unknown type {table.scalar(1, 'b')}.")
        sizes = table.integers(0)
        if len(sizes) > _MAX_RANK or min(sizes, default=0) < -1:
            raise ModelFileError(f"{where} has an impossible shape {list(sizes)}.")
        quantization = _quantization(table.table(4), sizes, where)
        raw = self._bytes(table.scalar(2, "I"))
        data = None
        if raw is not None:
            data = decode_constant(raw, dtype, sizes, table.table(6), where)
        signature = table.integers(7)
        shape: Shape = sizes
        if data is None and len(signature) == len(sizes):
            shape = tuple(None if s == -1 else n for n, s in zip(sizes, signature, strict=True))
        shape = tuple(None if n == -1 else n for n in shape)
        return Tensor(index, name, dtype, shape, data, quantization, bool(table.scalar(5, "?")))

    def _bytes(self, index: int) -> memoryview | None:
        """Contents of a buffer; None for an empty one. Buffer 0 is empty by convention."""
        table = self._buffers[index]
        offset, size = int(table.scalar(1, "Q")), int(table.scalar(2, "Q"))
        if offset > 1:
            self._buffer.check(offset, size)
            return memoryview(self._buffer.data)[offset : offset + size]
        view = table.numbers(0, np.uint8)
        return None if view is None or not view.size else view.data

    def _operator(self, index: int, table: Table) -> Operator:
        builtin, custom = self._codes[table.scalar(0, "I")]
        options = _options(table, 3, "BuiltinOptions") or _options(table, 11, "BuiltinOptions2")
        return Operator(
            index,
            builtin,
            custom,
            table.integers(1),
            table.integers(2),
            options,
            self._custom_options(table),
        )

    def _custom_options(self, table: Table) -> bytes:
        offset, size = int(table.scalar(9, "Q")), int(table.scalar(10, "Q"))
        if offset > 1:
            self._buffer.check(offset, size)
            return bytes(self._buffer.data[offset : offset + size])
        view = table.numbers(5, np.uint8)
        return b"" if view is None else view.tobytes()


def _opcode(table: Table) -> tuple[str, str]:
    """Builtin and custom name; codes above 127 live in a newer field than those below."""
    code = max(int(table.scalar(0, "b")), table.int32(3))
    name = names_of("BuiltinOperator").get(code)
    if name is None:
        raise UnsupportedError(
            f"the file uses builtin operator {code}, which the installed schema does not know.",
            hint="upgrade ai-edge-litert",
        )
    return name, (table.text(1) or "CUSTOM") if code == _CUSTOM else ""


def _options(table: Table, slot: int, enum: str) -> Any:
    kind = names_of(enum).get(table.scalar(slot, "B"), "NONE")
    nested = None if kind == "NONE" else table.table(slot + 1)
    if nested is None:
        return None
    return getattr(schema(), kind + "T").InitFromBuf(nested.buffer.data, nested.position)


def _signature(table: Table, subgraphs: int) -> SignatureNames:
    index = int(table.scalar(4, "I"))
    if index >= subgraphs:
        raise ModelFileError(f"a signature refers to subgraph {index}, which does not exist.")
    return SignatureNames(table.text(2), index, _given_names(table, 0), _given_names(table, 1))


def _given_names(table: Table, slot: int) -> dict[int, tuple[str, ...]]:
    names: dict[int, tuple[str, ...]] = {}
    for entry in table.tables(slot):
        index = int(entry.scalar(1, "I"))
        names[index] = (*names.get(index, ()), entry.text(0))
    return names


def _quantization(table: Table | None, sizes: tuple[int, ...], where: str) -> Quantization | None:
    """The parameters, held to the rules that the runtime enforces when it opens a file."""
    scale = None if table is None else table.numbers(2, "<f4")
    if table is None or scale is None or not scale.size:
        return None
    if table.scalar(4, "B"):
        kind = names_of("QuantizationDetails").get(table.scalar(4, "B"), "unknown")
        raise UnsupportedError(f"{where} is quantized in a form not supported here: {kind}.")
    zero_point = table.numbers(3, "<i8")
    if zero_point is None:
        zero_point = np.zeros(scale.size, np.int64)
    axis = table.int32(6)
    if axis < 0 or (sizes and axis >= len(sizes)):
        raise ModelFileError(
            f"{where} is quantized along axis {axis}, but it has only {len(sizes)} "
            f"{'axis' if len(sizes) == 1 else 'axes'}. Current TFLite runtimes refuse such a file.",
            hint="it was written by an old converter; convert the original model again",
        )
    if zero_point.size not in (1, scale.size) or scale.size not in (1, *sizes[axis : axis + 1]):
        raise ModelFileError(
            f"{where} of shape {list(sizes)} has {scale.size} scales and {zero_point.size} zero "
            f"points along axis {axis}."
        )
    if not np.isfinite(scale).all() or (scale < 0).any():
        raise ModelFileError(f"{where} has a negative or infinite scale.")
    zero_point = np.broadcast_to(zero_point, scale.shape)
    return Quantization(scale, zero_point, axis)


def _check_indices(indices: tuple[int, ...], count: int, who: str, optional: bool = False) -> None:
    lowest = -1 if optional else 0
    wrong = [i for i in indices if not lowest <= i < count]
    if wrong:
        raise ModelFileError(f"{who} refers to tensor {wrong[0]}, but there are {count}.")
