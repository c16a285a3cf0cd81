"""The ONNX graph under construction, and what each TFLite tensor became in it.

A quantized tensor has two faces: its stored integers (`raw`) and the real numbers they stand for
(`real`, after DequantizeLinear).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.builder import Builder
from edgekit.frontends.tflite.constants import NUMPY
from edgekit.frontends.tflite.model import Quantization, Subgraph, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTIZED_TYPES = frozenset({"INT8", "UINT8", "INT16", "INT4", "INT2", "UINT4", "UINT16"})
"""Types whose integers stand for real numbers when the tensor has a scale."""


class CannotRead(Exception):
    """One operator has no equivalent; the frontend turns it into a `Reason`.

    Args:
        reason: what about the operator is in the way.
        hint: what the user can do.
    """

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class GraphState:
    """The ONNX graph under construction, and which value each TFLite tensor became.

    Args:
        subgraph: the TFLite graph that is read.
        builder: receives the nodes.
        notes: receives what the user should know about how the file was read.

    Attributes:
        constants: values of the tensors that are known, by index.
        dequantized: tensor that is the dequantized form of another → that other.
        partial: entries of vectors of integers, as far as they are known, by index.
    """

    def __init__(self, subgraph: Subgraph, builder: Builder, notes: list[str]) -> None:
        self.subgraph = subgraph
        self.builder = builder
        self.notes = notes
        self.constants: dict[int, NDArray[Any]] = {
            t.index: t.data for t in subgraph.tensors if t.data is not None
        }
        self.dequantized: dict[int, int] = {}
        self.partial: dict[int, tuple[int | None, ...]] = {}
        self._raw: dict[int, onnx_ir.Value] = {}
        self._real: dict[int, onnx_ir.Value] = {}
        self._weights: dict[tuple[int, tuple[int, ...]], onnx_ir.Value] = {}

    def bind(self, index: int, value: onnx_ir.Value) -> None:
        """`value` is what tensor `index` holds from here on."""
        self._raw[index] = value
        self._real.pop(index, None)

    def is_bound(self, index: int) -> bool:
        """Whether the tensor has been produced."""
        return index in self._raw

    def raw(self, index: int) -> onnx_ir.Value:
        """The tensor as stored.

        Raises:
            ModelFileError: if nothing has produced it.
        """
        if index not in self._raw and index in self.dequantized:
            self._raw[index] = self.real(self.dequantized[index])
        if index not in self._raw:
            tensor = self.subgraph.tensors[index]
            data = self.constant(tensor)
            if data is None:
                raise ModelFileError(f"{tensor} is read before any operator produces it.")
            name = self.builder.reserve(tensor.name or f"tensor_{index}")
            self._raw[index] = self.builder.constant(data, name)
        return self._raw[index]

    def real(self, index: int) -> onnx_ir.Value:
        """The tensor as real numbers: dequantized if it is quantized."""
        tensor = self.subgraph.tensors[index]
        quantization = tensor.quantization
        if quantization is None or tensor.dtype not in QUANTIZED_TYPES:
            return self.raw(index)
        if index not in self._real:
            self._real[index] = self.dequantize(self.raw(index), tensor.dtype, quantization)
        return self._real[index]

    def constant(self, tensor: Tensor) -> NDArray[Any] | None:
        """Values of a constant; a tensor without elements needs no buffer to be one."""
        if tensor.index in self.constants:
            return self.constants[tensor.index]
        empty = 0 in tensor.shape and None not in tensor.shape and tensor.dtype in NUMPY
        if empty and tensor.index not in self._raw and not tensor.variable:
            return np.zeros([n or 0 for n in tensor.shape], NUMPY[tensor.dtype])
        return None

    def weights(self, index: int, perm: tuple[int, ...]) -> onnx_ir.Value:
        """A tensor as real numbers with its axes permuted, at read time when it is constant."""
        index = self.dequantized.get(index, index)
        key = (index, perm)
        if key not in self._weights:
            self._weights[key] = self._permuted(self.subgraph.tensors[index], perm)
        return self._weights[key]

    def _permuted(self, tensor: Tensor, perm: tuple[int, ...]) -> onnx_ir.Value:
        data = self.constant(tensor)
        if data is None:
            return self.builder.op("Transpose", self.real(tensor.index), perm=perm)
        if data.ndim != len(perm):
            raise ModelFileError(f"{tensor} has {data.ndim} axes where {len(perm)} are needed.")
        moved = np.ascontiguousarray(data.transpose(perm))
        name = self.builder.reserve(tensor.name or f"tensor_{tensor.index}")
        quantization = tensor.quantization
        if quantization is None or tensor.dtype not in QUANTIZED_TYPES:
            if moved.dtype == np.float16:
                moved = moved.astype(np.float32)
            return self.builder.constant(moved, name)
        axis = perm.index(quantization.axis) if quantization.per_axis else 0
        turned = Quantization(quantization.scale, quantization.zero_point, axis)
        return self.dequantize(self.builder.constant(moved, name), tensor.dtype, turned)

    def dequantize(
        self, value: onnx_ir.Value, dtype: str, quantization: Quantization
    ) -> onnx_ir.Value:
        """DequantizeLinear with the file's parameters."""
        scale, zero_point = self._parameters(dtype, quantization)
        axis = quantization.axis if quantization.per_axis else None
        return self.builder.op("DequantizeLinear", value, scale, zero_point, axis=axis)

    def quantize(self, value: onnx_ir.Value, tensor: Tensor) -> onnx_ir.Value:
        """QuantizeLinear to the type and parameters of `tensor`.

        Raises:
            CannotRead: if the tensor has no parameters, or a type that ONNX does not quantize to.
        """
        quantization = tensor.quantization
        if quantization is None:
            raise CannotRead(f"its output {tensor} is {tensor.dtype} without a scale")
        if tensor.dtype not in ("INT8", "UINT8", "INT16", "UINT16"):
            raise CannotRead(f"its output {tensor} is quantized to {tensor.dtype}")
        if not quantization.scale.all():
            raise ModelFileError(f"{tensor} has a scale of zero.")
        scale, zero_point = self._parameters(tensor.dtype, quantization)
        axis = quantization.axis if quantization.per_axis else None
        return self.builder.op("QuantizeLinear", value, scale, zero_point, axis=axis)

    def _parameters(
        self, dtype: str, quantization: Quantization
    ) -> tuple[onnx_ir.Value, onnx_ir.Value]:
        kind = NUMPY[dtype]
        zero_point = quantization.zero_point.astype(kind)
        if (zero_point != quantization.zero_point).any():
            raise ModelFileError(f"a zero point does not fit the type {dtype}.")
        shape = quantization.scale.shape if quantization.per_axis else ()
        return (
            self.builder.constant(quantization.scale.astype(np.float32).reshape(shape)),
            self.builder.constant(zero_point.reshape(shape)),
        )
