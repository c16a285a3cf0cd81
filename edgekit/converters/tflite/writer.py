"""TFLite graph → flatbuffer bytes, through the schema's object API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgekit.converters.tflite.graph import Graph, Operator, Tensor
from edgekit.converters.tflite.lowering import tensor_type
from edgekit.converters.tflite.versions import operator_version

SIGNATURE_KEY = "serving_default"
_ALIGNMENT = 16
_LAST_DEPRECATED_CODE = 127


_LIMIT = 1 << 30
"""Bytes of constants above which they are put behind the flatbuffer, which ends at 2 GB."""


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer whose bytes start at a multiple of 16, as the schema's `force_align` asks.

    With an `offset` its bytes are outside of the flatbuffer.
    """

    def Pack(self, builder: Any) -> Any:
        payload = None if self.offset else self.data
        vector = None
        if payload is not None:
            builder.StartVector(1, len(payload), _ALIGNMENT)
            builder.head -= len(payload)
            builder.Bytes[builder.head : builder.head + len(payload)] = payload
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        if self.offset:
            schema.BufferAddOffset(builder, self.offset)
            schema.BufferAddSize(builder, len(self.data))
        return schema.BufferEnd(builder)


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.buffers: list[Any] = [_AlignedBuffer()]
        self.tensors: list[Any] = []
        self.index: dict[int, int] = {}
        self.names: dict[str, int] = {}
        self.shared: dict[tuple[str, bytes], int] = {}
        self.codes: dict[tuple[str, int, str | None], int] = {}

    def tensor(self, tensor: Tensor | None) -> int:
        if tensor is None:
            return -1
        key = id(tensor)
        if key not in self.index:
            self.index[key] = len(self.tensors)
            self.tensors.append(self._tensor(tensor))
        return self.index[key]

    def _tensor(self, tensor: Tensor) -> Any:
        item = schema.TensorT()
        item.name = self._unique(tensor.name)
        item.type = tensor_type(tensor.dtype)
        item.shape = np.array([1 if s is None else s for s in tensor.shape], np.int32)
        if any(size is None for size in tensor.shape):
            item.shapeSignature = np.array([-1 if s is None else s for s in tensor.shape], np.int32)
        item.hasRank = True
        item.isVariable = tensor.variable
        item.buffer = 0 if tensor.data is None else self._buffer(tensor.data)
        item.quantization = schema.QuantizationParametersT()
        if tensor.quantization is not None:
            item.quantization.scale = tensor.quantization.scale.astype(np.float32).reshape(-1)
            item.quantization.zeroPoint = tensor.quantization.zero_point.astype(np.int64).reshape(
                -1
            )
            item.quantization.quantizedDimension = tensor.quantization.axis
        return item

    def _buffer(self, data: NDArray[Any]) -> int:
        payload = np.ascontiguousarray(data).tobytes()
        if not payload:
            return 0
        key = (data.dtype.name, payload)
        if key not in self.shared:
            self.shared[key] = len(self.buffers)
            self.buffers.append(_AlignedBuffer(payload))
        return self.shared[key]

    def _unique(self, name: str) -> str:
        count = self.names.get(name, 0)
        self.names[name] = count + 1
        return name if count == 0 else self._unique(f"{name}_{count}")

    def operator(self, operator: Operator) -> Any:
        item = schema.OperatorT()
        item.inputs = np.array([self.tensor(t) for t in operator.inputs], np.int32)
        item.outputs = np.array([self.tensor(t) for t in operator.outputs], np.int32)
        item.opcodeIndex = self._code(operator)
        if operator.options is not None:
            kind = type(operator.options).__name__.removesuffix("T")
            item.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            item.builtinOptions = operator.options
        if operator.custom_options is not None:
            item.customOptions = np.frombuffer(operator.custom_options, np.uint8)
        return item

    def _code(self, operator: Operator) -> int:
        key = (operator.builtin, operator_version(operator), operator.custom_code)
        return self.codes.setdefault(key, len(self.codes))

    def operator_codes(self) -> list[Any]:
        items = []
        for builtin, version, custom in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, builtin)
            code.deprecatedBuiltinCode = min(code.builtinCode, _LAST_DEPRECATED_CODE)
            code.version = version
            code.customCode = custom
            items.append(code)
        return items

    def metadata(self, entries: Mapping[str, bytes]) -> list[Any]:
        items = []
        for name, payload in entries.items():
            item = schema.MetadataT()
            item.name, item.buffer = name, len(self.buffers)
            self.buffers.append(_AlignedBuffer(payload))
            items.append(item)
        return items

    def signature(self) -> Any:
        item = schema.SignatureDefT()
        item.signatureKey = SIGNATURE_KEY
        item.inputs = self._tensor_maps(self.graph.inputs)
        item.outputs = self._tensor_maps(self.graph.outputs)
        return item

    def _tensor_maps(self, entries: Iterable[tuple[str, Tensor]]) -> list[Any]:
        items = []
        for name, tensor in entries:
            item = schema.TensorMapT()
            item.name, item.tensorIndex = name, self.tensor(tensor)
            items.append(item)
        return items


def serialize(graph: Graph, *, description: str, metadata: Mapping[str, bytes]) -> bytes:
    """The graph as the bytes of a `.tflite` file.

    Args:
        graph: what to write; tensors are numbered inputs first, then in order of use.
        description: the model's free text.
        metadata: named binary entries.
    """
    return b"".join(_chunks(graph, description, metadata, _LIMIT))


def write(
    graph: Graph,
    path: Path,
    *,
    description: str,
    metadata: Mapping[str, bytes],
    limit: int = _LIMIT,
) -> None:
    """Write the graph to a file, which may be larger than 2 GB.

    Args:
        graph: what to write.
        path: the file.
        description: the model's free text.
        metadata: named binary entries.
        limit: bytes of constants above which they are put behind the flatbuffer.
    """
    with path.open("wb") as file:
        for chunk in _chunks(graph, description, metadata, limit):
            file.write(chunk)


def _chunks(
    graph: Graph, description: str, metadata: Mapping[str, bytes], limit: int
) -> Iterator[bytes]:
    """The parts of a file, in order."""
    writer = _Writer(graph)
    model = _model(writer, graph, description, metadata)
    outside = [buffer for buffer in writer.buffers if buffer.data] if _size(writer) > limit else []
    if not outside:
        yield _packed(model)
        return
    # Offsets have a fixed width: a first pass with any value finds out where they begin.
    for buffer in outside:
        buffer.offset = _ALIGNMENT
    position = _aligned(len(_packed(model)))
    for buffer in outside:
        buffer.offset = position
        position = _aligned(position + len(buffer.data))
    head = _packed(model)
    yield head + bytes(_aligned(len(head)) - len(head))
    for buffer in outside:
        yield buffer.data + bytes(_aligned(len(buffer.data)) - len(buffer.data))


def _size(writer: _Writer) -> int:
    return sum(len(buffer.data) for buffer in writer.buffers if buffer.data)


def _aligned(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _model(writer: _Writer, graph: Graph, description: str, metadata: Mapping[str, bytes]) -> Any:
    subgraph = schema.SubGraphT()
    subgraph.name = "main"
    subgraph.inputs = np.array([writer.tensor(t) for _, t in graph.inputs], np.int32)
    subgraph.operators = [writer.operator(op) for op in graph.operators]
    subgraph.outputs = np.array([writer.tensor(t) for _, t in graph.outputs], np.int32)
    model = schema.ModelT()
    model.version = 3
    model.description = description
    model.operatorCodes = writer.operator_codes()
    model.signatureDefs = [writer.signature()]
    model.metadata = writer.metadata(metadata)
    model.buffers = writer.buffers
    subgraph.tensors = writer.tensors
    model.subgraphs = [subgraph]
    return model
