"""The values of a Q/DQ graph while it is turned into an integer graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.converters.tflite.encodings import (
    DEQUANTIZE,
    QUANTIZE,
    STORED,
    Encoding,
    constant_of_dequantize,
    dequantized,
    encoding_of,
    quantized,
)
from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.kernels import KERNELS
from edgekit.converters.tflite.lowering import constant_of, operand
from edgekit.errors import UnsupportedError

_FLOATS = (onnx_ir.DataType.FLOAT, onnx_ir.DataType.FLOAT16, onnx_ir.DataType.DOUBLE)


def is_float(value: onnx_ir.Value | None) -> bool:
    """Whether a value is there and holds real numbers."""
    return value is not None and value.dtype in _FLOATS


class Values:
    """What is known about the integers of a graph, and the edits that make values integers.

    Attributes:
        encodings: integer activations → what their numbers mean.
        constants: results of DequantizeLinear on a constant → the integers and their encoding.
        bound: quantized constants → their tensors.

    Raises:
        UnsupportedError: if one value is written with one scale and read with another.
    """

    def __init__(self, graph: onnx_ir.Graph) -> None:
        self.graph = graph
        self.encodings: dict[onnx_ir.Value, Encoding] = {}
        self.constants: dict[onnx_ir.Value, tuple[NDArray[Any], Encoding]] = {}
        self._requantized: dict[onnx_ir.Value, list[onnx_ir.Value]] = {}
        self.bound: dict[onnx_ir.Value, Tensor] = {}
        for node in tuple(graph):
            if node.op_type == QUANTIZE:
                self._read_quantize(node)
            elif node.op_type == DEQUANTIZE:
                self._read_dequantize(node)
        for node in graph:
            self._follow(node, operand(node, 0), node.outputs[0])
        for node in reversed(graph):
            self._follow(node, node.outputs[0], operand(node, 0))
        self._sign()
        for node in tuple(graph):
            if node.op_type == QUANTIZE:
                self._shorten(node)

    # Reading -------------------------------------------------------------------------------

    def _read_quantize(self, node: onnx_ir.Node) -> None:
        encoding, data = encoding_of(node), constant_of(operand(node, 0))
        if encoding is None:
            return
        out = node.outputs[0]
        if data is None:
            self._note(out, encoding)
        elif not out.is_graph_output():
            fixed = self.initializer(out.name or "constant", quantized(data, encoding))
            out.replace_all_uses_with(fixed)
            self.graph.remove(node, safe=True)
            self.encodings.pop(out, None)

    def _read_dequantize(self, node: onnx_ir.Node) -> None:
        integers, encoding = operand(node, 0), encoding_of(node)
        data = constant_of(integers)
        if data is not None:
            self._read_constant(node, data, encoding)
        elif encoding is not None and integers is not None:
            self._note(integers, encoding)

    def _read_constant(
        self, node: onnx_ir.Node, data: NDArray[Any], encoding: Encoding | None
    ) -> None:
        out = node.outputs[0]
        if encoding is None:
            real = constant_of_dequantize(node)
            if real is not None:
                out.replace_all_uses_with(self.initializer(out.name or "constant", real), True)
            return
        if encoding.dtype == "uint8":
            data = (data.astype(np.int16) - 128).astype(np.int8)
        self.constants[out] = (data, encoding.signed())

    def _note(self, value: onnx_ir.Value, encoding: Encoding) -> None:
        if encoding.dtype not in STORED:
            return
        known = self.encodings.setdefault(value, encoding)
        if not known.same_as(encoding):
            raise UnsupportedError(
                f"'{value.name}' is quantized with other parameters than it is dequantized with.",
                hint="give both nodes the same scale and zero point",
            )

    def _follow(
        self, node: onnx_ir.Node, known: onnx_ir.Value | None, other: onnx_ir.Value | None
    ) -> None:
        """Carry encodings across nodes that move integers."""
        kernel = KERNELS.get(node.op_type)
        if kernel is None or not kernel.moves or known not in self.encodings or other is None:
            return
        if other.const_value is None and other.dtype == known.dtype:
            self._note(other, self.encodings[known])

    def _sign(self) -> None:
        """Make uint8 activations int8; uint8 edges of the graph keep their type."""
        for value, encoding in tuple(self.encodings.items()):
            if encoding.dtype != "uint8" or value.is_graph_output():
                continue
            if value.is_graph_input():
                self._retype_input(value, encoding)
            else:
                self.encodings[value] = encoding.signed()
                value.type = _int_type("int8")

    def _retype_input(self, value: onnx_ir.Value, encoding: Encoding) -> None:
        readers = [usage for usage in value.uses() if usage.node.op_type == DEQUANTIZE]
        signed = self.read_as(value, encoding.signed())
        for usage in readers:
            usage.node.replace_input_with(usage.idx, signed)

    def _shorten(self, node: onnx_ir.Node) -> None:
        """Let a QuantizeLinear that reads a DequantizeLinear read its integers."""
        source, encoding = self.source(operand(node, 0)), self.encodings.get(node.outputs[0])
        if source is None or encoding is None:
            return
        node.replace_input_with(0, source)
        self._merge(node, source)

    def source(self, value: onnx_ir.Value | None) -> onnx_ir.Value | None:
        """The integers of which a value is the dequantization; None if it is anything else."""
        producer = None if value is None else value.producer()
        if producer is None or producer.op_type != DEQUANTIZE:
            return None
        integers = operand(producer, 0)
        return integers if integers in self.encodings else None

    def encoding(self, value: onnx_ir.Value) -> Encoding | None:
        """How a float value is quantized; None if it is not."""
        if value in self.constants:
            return self.constants[value][1]
        source = self.source(value)
        return None if source is None else self.encodings[source]

    def quantizers(self, value: onnx_ir.Value) -> list[onnx_ir.Node]:
        """The QuantizeLinear nodes, of known parameters, that read a value."""
        return [
            usage.node
            for usage in value.uses()
            if usage.node.op_type == QUANTIZE and usage.node.outputs[0] in self.encodings
        ]

    # Operands ------------------------------------------------------------------------------

    def read(self, value: onnx_ir.Value) -> onnx_ir.Value:
        """The integers of a quantized value."""
        source = self.source(value)
        if source is not None:
            return source
        data, encoding = self.constants[value]
        return self.constant(value.name or "constant", data, encoding)

    def read_as(self, value: onnx_ir.Value, encoding: Encoding) -> onnx_ir.Value:
        """The integers of a quantized value in another encoding, requantized where needed.

        Args:
            value: a dequantized value, or integers of known encoding.
            encoding: what is wanted.
        """
        if value in self.constants:
            data, given = self.constants[value]
            if not given.same_as(encoding):
                data = quantized(dequantized(data, given.quantization), encoding)
            return self.constant(value.name or "constant", data, encoding)
        source = value if value in self.encodings else self.read(value)
        if self.encodings[source].same_as(encoding):
            return source
        known = self._requantized.setdefault(source, [])
        for candidate in known:
            if self.encodings[candidate].same_as(encoding):
                return candidate
        known.append(self._requantize(source, encoding, len(known)))
        return known[-1]

    def _requantize(self, source: onnx_ir.Value, encoding: Encoding, count: int) -> onnx_ir.Value:
        name = f"{source.name}/requantized" + (f"_{count}" if count else "")
        out = onnx_ir.Value(name=name, shape=source.shape, type=_int_type(encoding.dtype))
        node = onnx_ir.Node("", QUANTIZE, [source], outputs=[out], name=name)
        producer = source.producer()
        if producer is None:
            self.graph.insert_before(self.graph[0], node)
        else:
            self.graph.insert_after(producer, node)
        self.encodings[out] = encoding
        return out

    def constant(self, name: str, data: NDArray[Any], encoding: Encoding) -> onnx_ir.Value:
        """A quantized constant."""
        value = self.initializer(f"{name}/{encoding.dtype}", data)
        stored = np.ascontiguousarray(data).reshape(data.shape)
        self.bound[value] = Tensor(
            value.name or name, encoding.dtype, data.shape, stored, encoding.quantization
        )
        return value

    def initializer(self, name: str, data: NDArray[Any]) -> onnx_ir.Value:
        """A plain constant."""
        taken, unique = self.graph.initializers, name
        while unique in taken:
            unique += "_"
        value = onnx_ir.Value(name=unique, const_value=onnx_ir.tensor(data, name=unique))
        value.dtype, value.shape = (
            onnx_ir.DataType.from_numpy(data.dtype),
            onnx_ir.Shape(data.shape),
        )
        self.graph.register_initializer(value)
        return value

    def quantize_before(self, mover: onnx_ir.Node, node: onnx_ir.Node) -> onnx_ir.Node:
        """Move a QuantizeLinear from behind a node that moves values to the front of it.

        Returns:
            The new QuantizeLinear.
        """
        source, out = mover.inputs[0], node.outputs[0]
        if source is None:
            raise ValueError("a node that moves values has no operand")
        encoding = self.encodings[out]
        name = f"{source.name}/quantized"
        before = onnx_ir.Value(name=name, shape=source.shape, type=_int_type(encoding.dtype))
        quantize = onnx_ir.Node("", QUANTIZE, [source], outputs=[before], name=name)
        self.graph.insert_before(mover, quantize)
        self.encodings[before] = encoding
        mover.replace_input_with(0, before)
        moved = mover.outputs[0]
        moved.type = _int_type(encoding.dtype)
        self.encodings[moved] = encoding
        self._merge(node, moved)
        return quantize

    # Results -------------------------------------------------------------------------------

    def write(self, value: onnx_ir.Value, encoding: Encoding) -> None:
        """Make the result of a node integer.

        QuantizeLinear nodes of the same encoding vanish, others requantize, and what is left
        reads it through one DequantizeLinear.
        """
        quantizers = self.quantizers(value)
        kind = value.type
        value.type = _int_type(encoding.dtype)
        self.encodings[value] = encoding
        if value.is_graph_output() or len(quantizers) < len(value.uses()):
            self._dequantize(value, kind, quantizers)
        for node in quantizers:
            self._merge(node, value)

    def _dequantize(
        self, value: onnx_ir.Value, kind: Any, quantizers: Sequence[onnx_ir.Node]
    ) -> None:
        real = onnx_ir.Value(name=f"{value.name}/float", shape=value.shape, type=kind)
        for usage in tuple(value.uses()):
            if usage.node not in quantizers:
                usage.node.replace_input_with(usage.idx, real)
        self._replace_output(value, real)
        node = onnx_ir.Node("", DEQUANTIZE, [value], outputs=[real], name=real.name)
        producer = value.producer()
        if producer is not None:
            self.graph.insert_after(producer, node)

    def _merge(self, node: onnx_ir.Node, value: onnx_ir.Value) -> None:
        """Let `value` be the output of a QuantizeLinear that reads it, if that changes nothing."""
        out = node.outputs[0]
        if not self.encodings[out].same_as(self.encodings[value]):
            return
        if out.is_graph_output() and (value.is_graph_output() or value.is_graph_input()):
            return
        self._replace_output(out, value)
        out.replace_all_uses_with(value)
        self.graph.remove(node, safe=True)
        del self.encodings[out]

    def _replace_output(self, old: onnx_ir.Value, new: onnx_ir.Value) -> None:
        """Give a graph output's place, and its name, to another value."""
        if not old.is_graph_output():
            return
        self.graph.outputs[:] = [new if v is old else v for v in self.graph.outputs]
        old.name, new.name = new.name, old.name


def _int_type(dtype: str) -> onnx_ir.TensorType:
    return onnx_ir.TensorType(onnx_ir.DataType.from_numpy(np.dtype(dtype)))
