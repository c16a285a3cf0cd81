"""Index arithmetic: negative indices, coordinates along axes, linear positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import CannotLower, Lowering
from edgekit.converters.tflite.ops._build import (
    as_scalar,
    concat_vectors,
    emit,
    scalar_like,
    shape_vector,
    static_size,
    vector_slice,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def size_vector(ctx: Lowering, x: Tensor, axes: Sequence[int], hint: str) -> Tensor:
    """The sizes along some axes as an int32 vector, known or not."""
    sizes = [x.shape[axis] for axis in axes]
    if all(size is not None for size in sizes):
        return ctx.constant(np.array(sizes, np.int32).reshape(-1), hint)
    vector = shape_vector(ctx, x)
    return concat_vectors(ctx, [vector_slice(ctx, vector, a, a + 1, "size") for a in axes], hint)


def size_scalar(ctx: Lowering, x: Tensor, axis: int, hint: str) -> Tensor:
    """The size along an axis as an int32 scalar, known or not."""
    return as_scalar(ctx, size_vector(ctx, x, [axis], hint), hint)


def wrapped(
    ctx: Lowering, indices: Tensor, x: Tensor, axes: Sequence[int], *, narrow: bool = True
) -> Tensor:
    """Indices with the negative ones counted from the back, by one FLOOR_MOD.

    Args:
        ctx: the conversion.
        indices: int32 or int64. With several axes its last axis runs over them.
        x: what they index.
        axes: the indexed axes.
        narrow: whether int64 indices become int32; constants always do.
    """
    sizes = [x.shape[axis] for axis in axes]
    data = indices.data
    if data is not None and ((data >= 0).all() or None not in sizes):
        known = np.array([size or 0 for size in sizes], np.int64)
        limits = known if len(axes) > 1 else known[0]
        whole: NDArray[np.int64] = np.where(data < 0, data + limits, data)
        return ctx.constant(whole.astype(np.int32), "indices")
    if narrow or None in sizes:
        indices = ctx.cast(indices, "int32", "indices")
    if _never_negative(ctx, indices):
        return indices
    if len(axes) > 1:
        limit = size_vector(ctx, x, axes, "sizes")
    else:
        limit = size_scalar(ctx, x, axes[0], "size")
    return emit(ctx, "FLOOR_MOD", [indices, ctx.cast(limit, indices.dtype, "size")])


_POSITIONS = frozenset({"ARG_MAX", "ARG_MIN", "FLOOR_MOD", "SHAPE", "WHERE"})
_KEEP_SIGNS = frozenset(
    {"CAST", "EXPAND_DIMS", "GATHER", "RESHAPE", "SLICE", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE"}
)


def _never_negative(ctx: Lowering, indices: Tensor) -> bool:
    """Whether the operators that make the indices only give positions from the front."""
    tensor: Tensor | None = indices
    for operator in reversed(ctx.graph.operators):
        if not any(output is tensor for output in operator.outputs):
            continue
        if operator.builtin == "TOPK_V2":
            return operator.outputs[1] is tensor
        if operator.builtin in _POSITIONS:
            return operator.builtin != "FLOOR_MOD" or _is_size(operator.inputs[1])
        if operator.builtin not in _KEEP_SIGNS:
            return False
        tensor = operator.inputs[0]
    return False


def _is_size(divisor: Tensor | None) -> bool:
    return divisor is not None and divisor.data is not None and bool((divisor.data > 0).all())


def strides(x: Tensor, axes: Sequence[int]) -> list[int]:
    """How far apart neighbours along each of the leading axes are, counted in units of the last.

    Args:
        x: the indexed tensor; only the first of the axes may be dynamic.
        axes: consecutive axes, in order.
    """
    steps = [1]
    for axis in reversed(list(axes)[1:]):
        steps.insert(0, steps[0] * static_size(x, axis))
    return steps


def coordinates(ctx: Lowering, grid: Tensor, axis: int, step: int) -> Tensor:
    """Step * position along one axis, int32, shaped to broadcast against `grid`."""
    shape = [1] * grid.rank
    size = grid.shape[axis]
    if size is not None:
        shape[axis] = size
        return ctx.constant(np.arange(size, dtype=np.int32).reshape(shape) * step, "positions")
    line = arange(ctx, size_scalar(ctx, grid, axis, "size"))
    if step != 1:
        line = emit(ctx, "MUL", [line, scalar_like(ctx, line, step, "step")])
    target = tuple(None if a == axis else 1 for a in range(grid.rank))
    return ctx.reshape(line, target, "positions")


def arange(ctx: Lowering, size: Tensor) -> Tensor:
    """0, 1, ... size - 1 for an int32 scalar."""
    if size.data is not None:
        return ctx.constant(np.arange(int(size.data), dtype=np.int32), "range")
    ends = [ctx.constant(np.array(value, np.int32), "range") for value in (0, 1)]
    out = ctx.temporary("int32", (None,), "range")
    return ctx.add("RANGE", [ends[0], size, ends[1]], out, schema.RangeOptionsT())


def total(ctx: Lowering, terms: Sequence[Tensor]) -> Tensor:
    """The sum of int32 tensors that broadcast; constants are added at once."""
    constants = [term.data for term in terms if term.data is not None]
    rest = [term for term in terms if term.data is None]
    if constants:
        fixed = constants[0]
        for data in constants[1:]:
            fixed = fixed + data
        if not rest or fixed.any():
            rest.append(ctx.constant(fixed.astype(np.int32), "offset"))
    result = rest[0]
    for term in rest[1:]:
        result = emit(ctx, "ADD", [result, term])
    return result


def element_positions(ctx: Lowering, x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Where in the flattened `x` the elements are that GatherElements and ScatterElements mean.

    Args:
        ctx: the conversion.
        x: the indexed tensor; only its first size may be dynamic.
        indices: positions along `axis`, of the same rank.
        axis: the indexed axis.

    Returns:
        Positions, int32, in the shape of `indices`.
    """
    if any(size is None for size in x.shape[1:]):
        raise CannotLower(f"'{x.name}' has dynamic sizes after the first", "fix the input shapes")
    steps = strides(x, range(x.rank))
    along = wrapped(ctx, indices, x, [axis])
    if steps[axis] != 1:
        step = scalar_like(ctx, along, steps[axis], "step")
        if along.data is not None:
            along = ctx.constant(along.data * np.int32(steps[axis]), "positions")
        else:
            along = emit(ctx, "MUL", [along, step])
    others = [
        coordinates(ctx, indices, a, steps[a])
        for a in range(x.rank)
        if a != axis and indices.shape[a] != 1
    ]
    return total(ctx, [along, *others])
