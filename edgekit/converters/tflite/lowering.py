"""What a lowering function works with: the IR node on one side, the TFLite graph on the other.

A lowering is a function `(ctx, node) -> None` that reads the node's operands with `ctx.input`,
adds operators with `ctx.add`, and writes to `ctx.output`. It raises `CannotLower` with a reason
when the node cannot be expressed; nothing else. Quantized operands arrive as integer tensors with
their `quantization`, so most lowerings serve float and integer graphs alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir

from edgekit.converters.tflite.graph import Graph, Operator, Quantization, Shape, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


ACTIVATION = "edgekit.activation"
"""Key in a node's `meta`: an activation fused into it, named as in `ActivationFunctionType`."""

_WITH_ACTIVATION = frozenset(
    {"ADD", "AVERAGE_POOL_2D", "CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "DIV"}
    | {"FULLY_CONNECTED", "MAX_POOL_2D", "MUL", "SUB"}
)
"""Operators whose kernels apply a fused activation."""


class CannotLower(Exception):
    """A node has no equivalent in TFLite.

    Args:
        reason: which attribute, type or shape is in the way.
        hint: what the user can do.
    """

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class Lowering:
    """The state of one conversion: which tensor stands for which IR value, and the graph so far."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._tensors: dict[onnx_ir.Value, Tensor] = {}
        self._node: onnx_ir.Node | None = None

    # Values of the IR ----------------------------------------------------------------------

    def bind(self, value: onnx_ir.Value, tensor: Tensor) -> None:
        """Let `tensor` stand for `value` from here on."""
        self._tensors[value] = tensor

    def tensor(self, value: onnx_ir.Value) -> Tensor:
        """The tensor that stands for a value; constants are made on first use."""
        known = self._tensors.get(value)
        if known is None:
            data = constant_of(value)
            if data is None:
                raise CannotLower(f"'{value.name}' is not produced by any lowered node")
            known = Tensor(value.name or "constant", data.dtype.name, data.shape, data)
            self._tensors[value] = known
        return known

    def input(self, node: onnx_ir.Node, index: int) -> Tensor:
        """The tensor of a required operand."""
        value = operand(node, index)
        if value is None:
            raise CannotLower(f"operand {index} is missing")
        return self.tensor(value)

    def optional_input(self, node: onnx_ir.Node, index: int) -> Tensor | None:
        """The tensor of an optional operand, None when absent."""
        value = operand(node, index)
        return None if value is None else self.tensor(value)

    def output(self, node: onnx_ir.Node, index: int = 0) -> Tensor:
        """The tensor of a result, made from the IR's type and shape on first use."""
        value = node.outputs[index]
        if value not in self._tensors:
            self._tensors[value] = Tensor(value.name or "value", dtype_of(value), shape_of(value))
        return self._tensors[value]

    # Building the graph --------------------------------------------------------------------

    def add(
        self,
        builtin: str,
        inputs: Sequence[Tensor | None],
        outputs: Tensor | Sequence[Tensor],
        options: Any = None,
    ) -> Tensor:
        """Append an operator; returns its first output."""
        results = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        origin = (self._node.name or "") if self._node is not None else ""
        self.graph.operators.append(Operator(builtin, list(inputs), results, options, origin))
        return results[0]

    def constant(
        self, data: NDArray[Any], hint: str, quantization: Quantization | None = None
    ) -> Tensor:
        """A new constant; `hint` becomes part of its name."""
        array = np.ascontiguousarray(data).reshape(np.shape(data))
        return Tensor(self._name(hint), array.dtype.name, array.shape, array, quantization)

    def temporary(
        self, dtype: str, shape: Shape, hint: str, quantization: Quantization | None = None
    ) -> Tensor:
        """A new activation between two operators of one lowering."""
        return Tensor(self._name(hint), dtype, tuple(shape), None, quantization)

    def like(self, tensor: Tensor, shape: Shape, hint: str) -> Tensor:
        """A new activation with another tensor's dtype and quantization."""
        return self.temporary(tensor.dtype, shape, hint, tensor.quantization)

    def reshape(self, tensor: Tensor, shape: Shape, hint: str, out: Tensor | None = None) -> Tensor:
        """Append a RESHAPE (none when nothing changes and no `out` is asked for).

        At most one size may be dynamic.
        """
        from ai_edge_litert import schema_py_generated as schema

        if out is None and tuple(shape) == tensor.shape:
            return tensor
        if sum(size is None for size in shape) > 1:
            raise CannotLower("a reshape to more than one dynamic size", "fix the input shapes")
        sizes = np.array([-1 if s is None else s for s in shape], np.int32)
        options = schema.ReshapeOptionsT(newShape=sizes)
        target = out if out is not None else self.like(tensor, shape, hint)
        return self.add("RESHAPE", [tensor, self.constant(sizes, hint + "/shape")], target, options)

    def transpose(
        self, tensor: Tensor, perm: Sequence[int], hint: str, out: Tensor | None = None
    ) -> Tensor:
        """Append a TRANSPOSE; constants are transposed at once, identity adds nothing."""
        from ai_edge_litert import schema_py_generated as schema

        order = tuple(perm)
        if out is None and order == tuple(range(len(order))):
            return tensor
        quantization = _permuted(tensor.quantization, order)
        if out is None and tensor.data is not None:
            return self.constant(tensor.data.transpose(order), hint, quantization)
        shape = tuple(tensor.shape[axis] for axis in order)
        target = out or self.temporary(tensor.dtype, shape, hint, quantization)
        axes = self.constant(np.array(order, np.int32), hint + "/perm")
        return self.add("TRANSPOSE", [tensor, axes], target, schema.TransposeOptionsT())

    def cast(self, tensor: Tensor, dtype: str, hint: str) -> Tensor:
        """Append a CAST (none when the type is right already; constants are cast at once)."""
        from ai_edge_litert import schema_py_generated as schema

        if tensor.dtype == dtype:
            return tensor
        if tensor.data is not None:
            return self.constant(tensor.data.astype(dtype), hint)
        options = schema.CastOptionsT(
            inDataType=tensor_type(tensor.dtype), outDataType=tensor_type(dtype)
        )
        return self.add("CAST", [tensor], self.temporary(dtype, tensor.shape, hint), options)

    def lower(self, node: onnx_ir.Node, function: Lower) -> None:
        """Run one lowering, so that operators and names are attributed to its node.

        An activation that was fused into the node goes to the operator that makes its result.
        """
        self._node = node
        try:
            function(self, node)
            activation = node.meta.get(ACTIVATION)
            if activation is not None:
                self._activate(self.output(node), activation)
        finally:
            self._node = None

    def _activate(self, out: Tensor, activation: str) -> None:
        from ai_edge_litert import schema_py_generated as schema

        last = self.graph.operators[-1]
        if last.outputs == [out] and last.builtin in _WITH_ACTIVATION:
            last.options.fusedActivationFunction = getattr(
                schema.ActivationFunctionType, activation
            )
            return
        last.outputs = [self.like(out, out.shape, "linear")]
        self.add(activation, last.outputs, out)

    def _name(self, hint: str) -> str:
        return f"{self._node.name}/{hint}" if self._node is not None else hint


Lower = Callable[[Lowering, onnx_ir.Node], None]
"""A lowering: reads an IR node, appends TFLite operators."""


# Reading IR nodes ------------------------------------------------------------------------------


def operand(node: onnx_ir.Node, index: int) -> onnx_ir.Value | None:
    """An operand of a node, None when it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def constant_of(value: onnx_ir.Value | None) -> NDArray[Any] | None:
    """The values of a constant; None for anything else."""
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy()


def constant_operand(node: onnx_ir.Node, index: int, what: str) -> NDArray[Any]:
    """The values of an operand that must be a constant."""
    data = constant_of(operand(node, index))
    if data is None:
        raise CannotLower(
            f"{what} is computed at run time", "make it a constant, or fix the input shapes"
        )
    return data


def dtype_of(value: onnx_ir.Value) -> str:
    """NumPy name of a value's element type."""
    if value.dtype is None:
        raise CannotLower(f"the type of '{value.name}' is unknown")
    return str(value.dtype.numpy().name)


def shape_of(value: onnx_ir.Value) -> Shape:
    """Sizes of a value; None where symbolic."""
    if value.shape is None:
        raise CannotLower(f"the rank of '{value.name}' is unknown", "fix the input shapes")
    return tuple(size if isinstance(size, int) else None for size in value.shape)


def int_attribute(node: onnx_ir.Node, name: str, default: int) -> int:
    """An integer attribute."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def float_attribute(node: onnx_ir.Node, name: str, default: float) -> float:
    """A float attribute."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_float()


def string_attribute(node: onnx_ir.Node, name: str, default: str) -> str:
    """A string attribute."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_string()


def ints_attribute(
    node: onnx_ir.Node, name: str, default: Sequence[int] | None = None
) -> tuple[int, ...] | None:
    """A list of integers, or the default when absent."""
    attribute = node.attributes.get(name)
    if attribute is None:
        return None if default is None else tuple(default)
    return tuple(attribute.as_ints())


def tensor_type(dtype: str) -> int:
    """The schema's number for a NumPy type name.

    Raises:
        CannotLower: if TFLite has no such type.
    """
    from ai_edge_litert.schema_py_generated import TensorType

    number = getattr(TensorType, dtype.upper(), None)
    if number is None:
        raise CannotLower(f"TFLite has no type {dtype}")
    return int(number)


def _permuted(quantization: Quantization | None, perm: tuple[int, ...]) -> Quantization | None:
    if quantization is None or not quantization.per_axis:
        return quantization
    return Quantization(quantization.scale, quantization.zero_point, perm.index(quantization.axis))
