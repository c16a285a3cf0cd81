"""Small helpers that the lowerings share: shapes, constants, and kernels with fewer types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Shape, Tensor
from edgekit.converters.tflite.lowering import CannotLower, Lowering, tensor_type

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLOAT = frozenset({"float32"})
_FLOAT_INT32 = _FLOAT | {"int32"}
_WIDE = _FLOAT_INT32 | {"int64"}

KERNEL_TYPES: dict[str, frozenset[str]] = {
    "ABS": _FLOAT_INT32,
    "ADD": _WIDE,
    "ARG_MAX": _FLOAT_INT32,
    "ARG_MIN": _FLOAT_INT32,
    "CUMSUM": _WIDE,
    "DIV": _FLOAT_INT32,
    "EQUAL": _WIDE | {"bool"},
    "FLOOR_DIV": _FLOAT_INT32,
    "FLOOR_MOD": _WIDE,
    "GREATER": _WIDE,
    "GREATER_EQUAL": _WIDE,
    "LESS": _WIDE,
    "LESS_EQUAL": _WIDE,
    "LOGICAL_AND": frozenset({"bool"}),
    "LOGICAL_NOT": frozenset({"bool"}),
    "LOGICAL_OR": frozenset({"bool"}),
    "MAXIMUM": _WIDE,
    "MINIMUM": _WIDE,
    "MUL": _WIDE,
    "NEG": _WIDE,
    "NOT_EQUAL": _WIDE | {"bool"},
    "POW": _FLOAT_INT32,
    "REDUCE_ALL": frozenset({"bool"}),
    "REDUCE_ANY": frozenset({"bool"}),
    "REDUCE_MAX": _WIDE,
    "REDUCE_MIN": _WIDE,
    "REDUCE_PROD": _WIDE,
    "SIGN": _FLOAT_INT32,
    "SUB": _WIDE,
    "SUM": _WIDE,
    "TOPK_V2": _WIDE,
}
"""Types of unquantized operands that a kernel computes with; the others compute in float32."""

_STAND_INS: dict[str, tuple[str, ...]] = {
    "bool": ("int32",),
    "float16": ("float32",),
    "int8": ("int32",),
    "int16": ("int32",),
    "int64": ("int32",),
    "uint8": ("int32",),
    "uint16": ("int32",),
    "uint32": ("int64",),
}
"""The type to compute in where a kernel lacks the operand's own."""


def compute_type(builtin: str, tensor: Tensor) -> str:
    """The type that a kernel can compute in for an operand like this one.

    Raises:
        CannotLower: if there is none.
    """
    types = KERNEL_TYPES.get(builtin, _FLOAT)
    if tensor.dtype in types or tensor.quantization is not None:
        return tensor.dtype
    for candidate in _STAND_INS.get(tensor.dtype, ()):
        if candidate in types:
            return candidate
    raise CannotLower(
        f"{builtin} has no {tensor.dtype} kernel ('{tensor.name}')", "cast it to float32 or int32"
    )


def compute(
    ctx: Lowering, builtin: str, inputs: Sequence[Tensor], out: Tensor, options: Any = None
) -> Tensor:
    """Append an element-wise operator, through casts where its kernel lacks the type.

    Args:
        ctx: the conversion.
        builtin: the operator; all operands have one type.
        inputs: its operands.
        out: its result, of the operands' type or bool.
        options: the schema's options.
    """
    dtype = compute_type(builtin, inputs[0])
    if dtype == inputs[0].dtype:
        return ctx.add(builtin, inputs, out, options)
    operands = [ctx.cast(tensor, dtype, "wide") for tensor in inputs]
    if out.dtype == "bool" and inputs[0].dtype != "bool":
        return ctx.add(builtin, operands, out, options)
    result = ctx.add(builtin, operands, ctx.temporary(dtype, out.shape, "result"), options)
    return cast_into(ctx, result, out)


def cast_into(ctx: Lowering, tensor: Tensor, out: Tensor) -> Tensor:
    """Append a CAST whose result is a given tensor."""
    options = schema.CastOptionsT(
        inDataType=tensor_type(tensor.dtype), outDataType=tensor_type(out.dtype)
    )
    return ctx.add("CAST", [tensor], out, options)


def emit(
    ctx: Lowering,
    builtin: str,
    inputs: Sequence[Tensor],
    out: Tensor | None = None,
    options: Any = None,
    dtype: str = "",
) -> Tensor:
    """Append an element-wise float operator of a longer formula.

    Args:
        ctx: the conversion.
        builtin: the operator.
        inputs: its operands, which broadcast.
        out: where the result goes; default: a temporary.
        options: the schema's options; default: the ones that the operator needs, at their
            defaults.
        dtype: type of the temporary; default: that of the first operand.
    """
    target = out or ctx.temporary(
        dtype or inputs[0].dtype, broadcast(*(t.shape for t in inputs)), builtin.lower()
    )
    if options is None:
        kind = getattr(schema, OPTIONS.get(builtin, ""), None)
        options = kind() if kind is not None else None
    return ctx.add(builtin, inputs, target, options)


OPTIONS: dict[str, str] = {
    "ABS": "AbsOptionsT",
    "ADD": "AddOptionsT",
    "COS": "CosOptionsT",
    "DIV": "DivOptionsT",
    "EQUAL": "EqualOptionsT",
    "EXP": "ExpOptionsT",
    "FLOOR_DIV": "FloorDivOptionsT",
    "FLOOR_MOD": "FloorModOptionsT",
    "GREATER": "GreaterOptionsT",
    "GREATER_EQUAL": "GreaterEqualOptionsT",
    "HARD_SWISH": "HardSwishOptionsT",
    "LESS": "LessOptionsT",
    "LESS_EQUAL": "LessEqualOptionsT",
    "LOGICAL_AND": "LogicalAndOptionsT",
    "LOGICAL_NOT": "LogicalNotOptionsT",
    "LOGICAL_OR": "LogicalOrOptionsT",
    "LOG_SOFTMAX": "LogSoftmaxOptionsT",
    "MAXIMUM": "MaximumMinimumOptionsT",
    "MINIMUM": "MaximumMinimumOptionsT",
    "MUL": "MulOptionsT",
    "NEG": "NegOptionsT",
    "NOT_EQUAL": "NotEqualOptionsT",
    "POW": "PowOptionsT",
    "SELECT_V2": "SelectV2OptionsT",
    "SIGN": "SignOptionsT",
    "SQUARE": "SquareOptionsT",
    "SQUARED_DIFFERENCE": "SquaredDifferenceOptionsT",
    "SUB": "SubOptionsT",
}
"""Options classes of the element-wise operators that have one."""


def options_of(builtin: str) -> Any:
    """An options object at its defaults, None for operators without one."""
    return getattr(schema, OPTIONS[builtin])() if builtin in OPTIONS else None


def broadcast(*shapes: Shape) -> Shape:
    """NumPy broadcasting of shapes; an unknown size beats 1, a size above 1 beats unknown."""
    rank = max((len(shape) for shape in shapes), default=0)
    columns = zip(*((1,) * (rank - len(s)) + tuple(s) for s in shapes), strict=True)
    return tuple(_widest(column) for column in columns)


def _widest(sizes: Sequence[int | None]) -> int | None:
    known = [size for size in sizes if size is not None and size != 1]
    if known:
        return known[0]
    return None if any(size is None for size in sizes) else 1


def scalar_like(ctx: Lowering, tensor: Tensor, value: float, hint: str) -> Tensor:
    """A constant scalar in the type, and the quantization, of another tensor."""
    if tensor.quantization is not None:
        info = np.iinfo(tensor.dtype)
        stored = np.round(value / tensor.quantization.scale[0] + tensor.quantization.zero_point[0])
        data = np.array(np.clip(stored, info.min, info.max), tensor.dtype)
        return ctx.constant(data, hint, tensor.quantization)
    return ctx.constant(np.array(value, tensor.dtype), hint)


def as_scalar(ctx: Lowering, tensor: Tensor, hint: str) -> Tensor:
    """A tensor of one element without its axes; a constant stays a constant."""
    if tensor.data is not None:
        return ctx.constant(tensor.data.reshape(()), hint, tensor.quantization)
    return ctx.reshape(tensor, (), hint)


def absent(node: onnx_ir.Node, index: int) -> bool:
    """Whether an optional operand is not there."""
    return index >= len(node.inputs) or node.inputs[index] is None


def required(ctx: Lowering, node: onnx_ir.Node, index: int, what: str) -> NDArray[Any]:
    """The values of an operand that must be known when converting."""
    data = ctx.input(node, index).data
    if data is None:
        raise CannotLower(
            f"{what} is computed at run time", "make it a constant, or fix the input shapes"
        )
    return data


def positive_axis(axis: int, rank: int) -> int:
    """An axis counted from the front.

    Raises:
        CannotLower: if the tensor has no such axis.
    """
    if not -rank <= axis < max(rank, 1):
        raise CannotLower(f"axis {axis} is outside of a tensor of rank {rank}")
    return axis + rank if axis < 0 else axis


def static_size(tensor: Tensor, axis: int) -> int:
    """The size along an axis that must be known."""
    size = tensor.shape[axis]
    if size is None:
        raise CannotLower(
            f"the size of '{tensor.name}' along axis {axis} is dynamic", "fix the input shapes"
        )
    return size


def is_static(tensor: Tensor) -> bool:
    """Whether all sizes are known."""
    return all(size is not None for size in tensor.shape)


def shape_vector(ctx: Lowering, tensor: Tensor, hint: str = "shape") -> Tensor:
    """The sizes of a tensor as an int32 vector: a constant, or the result of a SHAPE."""
    if is_static(tensor):
        return ctx.constant(np.array(tensor.shape, np.int32), hint)
    options = schema.ShapeOptionsT(outType=tensor_type("int32"))
    return ctx.add("SHAPE", [tensor], ctx.temporary("int32", (tensor.rank,), hint), options)


def concat_vectors(ctx: Lowering, parts: Sequence[Tensor], hint: str) -> Tensor:
    """One vector of several; constants become a constant."""
    if len(parts) == 1:
        return parts[0]
    if all(part.data is not None for part in parts):
        return ctx.constant(np.concatenate([p.data for p in parts if p.data is not None]), hint)
    sizes = [part.shape[0] for part in parts]
    length = None if any(s is None for s in sizes) else sum(s for s in sizes if s is not None)
    out = ctx.temporary(parts[0].dtype, (length,), hint)
    return ctx.add("CONCATENATION", parts, out, schema.ConcatenationOptionsT(axis=0))


def vector_slice(ctx: Lowering, vector: Tensor, start: int, stop: int, hint: str) -> Tensor:
    """Part of a vector; part of a constant is a constant."""
    if vector.data is not None:
        return ctx.constant(vector.data[start:stop], hint)
    bounds = [np.array([x], np.int32) for x in (start, stop - start)]
    inputs = [vector, *(ctx.constant(bound, hint + "/bounds") for bound in bounds)]
    out = ctx.temporary(vector.dtype, (stop - start,), hint)
    return ctx.add("SLICE", inputs, out, schema.SliceOptionsT())


def reshape_like(ctx: Lowering, tensor: Tensor, source: Tensor, hint: str, out: Tensor) -> Tensor:
    """Append a RESHAPE to `out`, which has the sizes of `source`, known or not."""
    if sum(size is None for size in source.shape) <= 1:
        return ctx.reshape(tensor, source.shape, hint, out)
    inputs = [tensor, shape_vector(ctx, source)]
    return ctx.add("RESHAPE", inputs, out, schema.ReshapeOptionsT())
