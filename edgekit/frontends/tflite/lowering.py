"""What an operator's lowering sees: its operands as ONNX values, and where its results go.

Operators compute on real numbers; `emit` applies the fused activation and quantizes the result
with the parameters of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.constants import NUMPY
from edgekit.frontends.tflite.model import Operator, Shape, Tensor
from edgekit.frontends.tflite.reader import schema
from edgekit.frontends.tflite.state import QUANTIZED_TYPES, CannotRead, GraphState

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["QUANTIZED_TYPES", "CannotRead", "Lowering", "OpContext", "onnx_type"]

_RELU6 = (0.0, 6.0)
_ACTIVATION_BOUNDS: dict[int, tuple[float, float | None]] = {
    1: (0.0, None),
    2: (-1.0, 1.0),
    3: _RELU6,
}
_TANH = 4
_LONGEST_SHAPE = 64
_DYNAMIC_RANGE = (
    "some weights are stored in 8 bits or less and read as the real numbers they stand for; the "
    "TFLite interpreter also rounds the activations they meet, in each run"
)


class OpContext:
    """One operator being read.

    Args:
        state: the graph under construction.
        operator: the operator.
    """

    def __init__(self, state: GraphState, operator: Operator) -> None:
        self.state = state
        self.operator = operator
        self.builder = state.builder
        self.op = state.builder.op
        self.int64 = state.builder.int64

    def options(self, kind: str) -> Any:
        """The operator's options; the schema's defaults when the file has none.

        Raises:
            ModelFileError: if the file has options of another kind.
        """
        found = self.operator.options
        if found is None:
            return getattr(schema(), kind + "T")()
        if type(found).__name__ != kind + "T":
            raise ModelFileError(
                f"{self.operator.kind} carries {type(found).__name__} instead of {kind}."
            )
        return found

    def has(self, position: int) -> bool:
        """Whether an optional input is there."""
        inputs = self.operator.inputs
        return position < len(inputs) and inputs[position] >= 0

    @property
    def input_count(self) -> int:
        """How many inputs are listed, absent ones included."""
        return len(self.operator.inputs)

    @property
    def output_count(self) -> int:
        """How many outputs are listed."""
        return len(self.operator.outputs)

    def index(self, position: int) -> int:
        """Tensor index of an input.

        Raises:
            ModelFileError: if the file does not give that input.
        """
        if not self.has(position):
            raise ModelFileError(f"{self.operator.kind} lacks its input {position}.")
        return self.operator.inputs[position]

    def tensor(self, position: int) -> Tensor:
        """The tensor of an input."""
        return self.state.subgraph.tensors[self.index(position)]

    def result(self, position: int = 0) -> Tensor:
        """The tensor of an output."""
        if position >= self.output_count or self.operator.outputs[position] < 0:
            raise ModelFileError(f"{self.operator.kind} lacks its output {position}.")
        return self.state.subgraph.tensors[self.operator.outputs[position]]

    def shape(self, position: int) -> Shape:
        """Sizes of an input."""
        return self.tensor(position).shape

    def rank(self, position: int) -> int:
        """Number of axes of an input."""
        return len(self.shape(position))

    def axis(self, value: int, rank: int) -> int:
        """A non-negative axis.

        Raises:
            ModelFileError: if it is out of range.
        """
        if not -rank <= value < rank:
            raise ModelFileError(f"{self.operator.kind} names axis {value} of {rank}.")
        return value % rank

    def raw(self, position: int) -> onnx_ir.Value:
        """An input as stored."""
        return self.state.raw(self.index(position))

    def real(self, position: int) -> onnx_ir.Value:
        """An input as real numbers."""
        return self.state.real(self.index(position))

    def weights(self, position: int, perm: tuple[int, ...]) -> onnx_ir.Value:
        """An input as real numbers, axes permuted; a constant one is permuted here and now."""
        tensor = self.tensor(position)
        integers = tensor.quantization is not None and tensor.dtype in QUANTIZED_TYPES
        if integers and tensor.data is not None and self.result().dtype == "FLOAT32":
            self.note(_DYNAMIC_RANGE)
        return self.state.weights(self.index(position), perm)

    def constant(self, position: int) -> NDArray[Any] | None:
        """Stored values of an input that is constant, else None."""
        return self.state.constant(self.tensor(position))

    def real_constant(self, position: int) -> NDArray[Any]:
        """Real values of a constant input, float32.

        Raises:
            CannotRead: if the input is not constant.
        """
        data, tensor = self.constant(position), self.tensor(position)
        if data is None:
            raise CannotRead(f"its input {position} is not a constant")
        quantization = tensor.quantization
        if quantization is None or data.dtype.kind == "f":
            return data.astype(np.float32)
        shape = [1] * data.ndim
        if quantization.per_axis:
            shape[quantization.axis] = -1
        zero_point = quantization.zero_point.reshape(shape if data.ndim else ())
        scale = quantization.scale.reshape(shape if data.ndim else ())
        real: NDArray[Any] = (data.astype(np.int64) - zero_point).astype(np.float32) * scale
        return real

    def integers(self, position: int, what: str) -> tuple[int, ...]:
        """Values of a constant integer input, flattened.

        Raises:
            CannotRead: if the input is computed at run time.
        """
        data = self.constant(position)
        if data is None:
            raise CannotRead(f"its {what} is computed at run time", "make it a constant")
        if data.dtype.kind not in "iu":
            raise ModelFileError(f"the {what} of {self.operator.kind} is not an integer.")
        return tuple(int(v) for v in data.reshape(-1))

    def partial(self, position: int) -> tuple[int | None, ...] | None:
        """Entries of a vector of integers as far as they are known; None if nothing is."""
        data = self.constant(position)
        if data is None:
            return self.state.partial.get(self.index(position))
        whole = data.dtype.kind in "iu" and data.ndim <= 1 and data.size <= _LONGEST_SHAPE
        return tuple(int(v) for v in data.reshape(-1)) if whole else None

    def as_int64(self, position: int) -> onnx_ir.Value:
        """An integer input as int64, constant or not."""
        data = self.constant(position)
        if data is not None:
            return self.builder.constant(data.astype(np.int64))
        if self.tensor(position).dtype == "INT64":
            return self.raw(position)
        return self.op("Cast", self.raw(position), to=onnx_ir.DataType.INT64)

    def number(self, value: float, like: int = 0) -> onnx_ir.Value:
        """A scalar constant of the type that input `like` computes in."""
        return self.builder.constant(np.array(value, self.compute_type(like)))

    def compute_type(self, position: int = 0) -> np.dtype[Any]:
        """NumPy type of an input's real numbers."""
        return self.compute_type_of(self.tensor(position))

    def compute_type_of(self, tensor: Tensor) -> np.dtype[Any]:
        """NumPy type of a tensor's real numbers."""
        quantized = tensor.quantization is not None and tensor.dtype in QUANTIZED_TYPES
        if tensor.dtype not in NUMPY:
            raise CannotRead(f"{tensor} has the type {tensor.dtype}")
        return np.dtype(np.float32) if quantized else NUMPY[tensor.dtype]

    def cast(self, value: onnx_ir.Value, dtype: str) -> onnx_ir.Value:
        """`value` cast to a TFLite type."""
        return self.op("Cast", value, to=onnx_type(dtype))

    def transpose(self, value: onnx_ir.Value, perm: Sequence[int]) -> onnx_ir.Value:
        """`value` with its axes permuted."""
        return self.op("Transpose", value, perm=list(perm))

    def channels_first(self, value: onnx_ir.Value, rank: int = 4) -> onnx_ir.Value:
        """From N…C to NC…."""
        return self.transpose(value, (0, rank - 1, *range(1, rank - 1)))

    def channels_last(self, value: onnx_ir.Value, rank: int = 4) -> onnx_ir.Value:
        """From NC… to N…C."""
        return self.transpose(value, (0, *range(2, rank), 1))

    def activate(self, value: onnx_ir.Value, activation: int) -> onnx_ir.Value:
        """Apply a fused activation.

        Raises:
            CannotRead: if it is not one of ReLU, ReLU6, ReLU-1-to-1 and tanh.
        """
        if activation == 0:
            return value
        if activation == _TANH:
            return self.op("Tanh", value)
        if activation not in _ACTIVATION_BOUNDS:
            raise CannotRead(f"it has an unknown fused activation {activation}")
        low, high = _ACTIVATION_BOUNDS[activation]
        if high is None:
            return self.op("Relu", value)
        return self.op("Clip", value, self.number(low), self.number(high))

    def emit(self, value: onnx_ir.Value, activation: int = 0, position: int = 0) -> None:
        """`value` (real numbers) is the operator's result.

        Args:
            value: before the fused activation.
            activation: number of the fused activation in the schema.
            position: which output.
        """
        value = self.activate(value, activation)
        tensor = self.result(position)
        if tensor.quantization is not None and tensor.dtype in QUANTIZED_TYPES:
            value = self.state.quantize(value, tensor)
        self.emit_raw(value, position)

    def emit_raw(self, value: onnx_ir.Value, position: int = 0) -> None:
        """`value`, already of the stored type, is the operator's result."""
        tensor = self.result(position)
        if tensor.name:
            self.builder.rename(value, self.builder.reserve(tensor.name))
        self.state.bind(tensor.index, value)

    def emit_integers(self, value: onnx_ir.Value, position: int = 0) -> None:
        """An int64 value, cast to the integer type of the output, is the result."""
        dtype = self.result(position).dtype
        if dtype != "INT64":
            value = self.cast(value, dtype)
        self.emit_raw(value, position)

    def note(self, text: str) -> None:
        """Something the user should know about how this file was read."""
        if text not in self.state.notes:
            self.state.notes.append(text)


Lowering = Callable[[OpContext], None]
"""Reads one operator."""


def onnx_type(dtype: str) -> onnx_ir.DataType:
    """ONNX element type of a TFLite type.

    Raises:
        CannotRead: if ONNX tensors of that type are not supported here.
    """
    if dtype not in NUMPY:
        raise CannotRead(f"it uses tensors of the type {dtype}")
    return onnx_ir.DataType.from_numpy(NUMPY[dtype])
