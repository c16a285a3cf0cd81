"""Operators that change the shape, join and divide tensors, or make them from a shape."""

from __future__ import annotations

import numpy as np
import onnx_ir

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.lowering import CannotRead, Lowering, OpContext


def _reshape(op: OpContext) -> None:
    """The shape is the second input, or (older files) an option."""
    sizes = _wanted_shape(op)
    if sizes is None:
        op.emit(op.op("Reshape", op.real(0), op.as_int64(1)))
        return
    if sizes == (0,) and op.result().shape == ():
        sizes = ()
    allow_zero = 1 if 0 in sizes else None
    shape = op.builder.constant(np.array(sizes, np.int64))
    op.emit(op.op("Reshape", op.real(0), shape, allowzero=allow_zero))


def _wanted_shape(op: OpContext) -> tuple[int, ...] | None:
    if op.has(1):
        given = op.partial(1)
        if given is None or given.count(None) > 1 or (None in given and not _all_positive(given)):
            return None
        return tuple(-1 if n is None else n for n in given)
    option = op.options("ReshapeOptions").newShape
    if option is None:
        raise ModelFileError(f"{op.operator.kind} {op.operator.index} has no shape.")
    return tuple(int(v) for v in option)


def _all_positive(sizes: tuple[int | None, ...]) -> bool:
    """Whether no known size is zero or open, so that one -1 more is not ambiguous."""
    return all(n is None or n > 0 for n in sizes)


def _squeeze(op: OpContext) -> None:
    given = op.options("SqueezeOptions").squeezeDims
    rank = op.rank(0)
    axes = [] if given is None else [op.axis(int(a), rank) for a in given]
    if not axes:
        if None in op.shape(0):
            raise CannotRead("it squeezes an input of open shape without naming the axes")
        axes = [i for i, n in enumerate(op.shape(0)) if n == 1]
    op.emit(op.op("Squeeze", op.real(0), op.int64(*axes)))


def _expand_dims(op: OpContext) -> None:
    axis = op.axis(op.integers(1, "axis")[0], op.rank(0) + 1)
    op.emit(op.op("Unsqueeze", op.real(0), op.int64(axis)))


def _transpose(op: OpContext) -> None:
    rank = op.rank(0)
    perm = [op.axis(p, rank) for p in op.integers(1, "permutation")]
    if sorted(perm) != list(range(rank)):
        raise ModelFileError(f"TRANSPOSE {op.operator.index} has the permutation {perm}.")
    op.emit(op.transpose(op.real(0), perm))


def _pack(op: OpContext) -> None:
    axis = op.axis(int(op.options("PackOptions").axis), op.rank(0) + 1)
    axes = op.int64(axis)
    parts = [op.op("Unsqueeze", op.real(i), axes) for i in range(op.input_count)]
    op.emit(op.op("Concat", *parts, axis=axis))


def _unpack(op: OpContext) -> None:
    axis = op.axis(int(op.options("UnpackOptions").axis), op.rank(0))
    count = op.output_count
    parts = _split(op, op.real(0), axis, [1] * count)
    for position, part in enumerate(parts):
        op.emit(op.op("Squeeze", part, op.int64(axis)), position=position)


def _concatenation(op: OpContext) -> None:
    options = op.options("ConcatenationOptions")
    axis = op.axis(int(options.axis), op.rank(0))
    parts = [op.real(i) for i in range(op.input_count)]
    op.emit(op.op("Concat", *parts, axis=axis), options.fusedActivationFunction)


def _split_equally(op: OpContext) -> None:
    axis = op.axis(op.integers(0, "axis")[0], op.rank(1))
    size, count = op.shape(1)[axis], op.output_count
    if size is None:
        parts = op.builder.node("Split", [op.real(1)], count, axis=axis, num_outputs=count)
    elif count == 0 or size % count:
        raise ModelFileError(f"SPLIT {op.operator.index} divides {size} by {count}.")
    else:
        parts = _split(op, op.real(1), axis, [size // count] * count)
    for position, part in enumerate(parts):
        op.emit(part, position=position)


def _split_v(op: OpContext) -> None:
    axis = op.axis(op.integers(2, "axis")[0], op.rank(0))
    sizes = list(op.integers(1, "sizes"))
    if -1 in sizes:
        total = op.shape(0)[axis]
        if total is None:
            raise CannotRead("one of its sizes is left open, as is the input's")
        sizes[sizes.index(-1)] = total - sum(n for n in sizes if n != -1)
    if len(sizes) != op.output_count or min(sizes, default=0) < 0:
        raise ModelFileError(f"SPLIT_V {op.operator.index} has the sizes {sizes}.")
    for position, part in enumerate(_split(op, op.real(0), axis, sizes)):
        op.emit(part, position=position)


def _split(
    op: OpContext, x: onnx_ir.Value, axis: int, sizes: list[int]
) -> tuple[onnx_ir.Value, ...]:
    return op.builder.node("Split", [x, op.int64(*sizes)], len(sizes), axis=axis)


def _tile(op: OpContext) -> None:
    op.emit(op.op("Tile", op.real(0), op.as_int64(1)))


def _broadcast_to(op: OpContext) -> None:
    op.emit(op.op("Expand", op.real(0), op.as_int64(1)))


def _broadcast_args(op: OpContext) -> None:
    """The shape that results from broadcasting two shapes: expand zeros from one to the other."""
    zeros = op.op("ConstantOfShape", op.as_int64(0))
    op.emit_integers(op.op("Shape", op.op("Expand", zeros, op.as_int64(1))))


def _fill(op: OpContext) -> None:
    op.emit(op.op("Expand", op.real(1), op.as_int64(0)))


def _range(op: OpContext) -> None:
    scalars = [op.op("Squeeze", op.raw(i)) if op.rank(i) else op.raw(i) for i in range(3)]
    op.emit_raw(op.op("Range", *scalars))


def _shape(op: OpContext) -> None:
    """A shape without open sizes is a constant; operators that need one at read time see it."""
    op.options("ShapeOptions")
    sizes = op.shape(0)
    result = op.result()
    if None not in sizes and _trusted(op):
        kind = np.int64 if result.dtype == "INT64" else np.int32
        op.state.constants[result.index] = np.array(sizes, kind)
        return
    op.emit_integers(op.op("Shape", op.raw(0)))


def _trusted(op: OpContext) -> bool:
    """Whether no input of the graph has an open size, which files may not carry inwards."""
    subgraph = op.state.subgraph
    return all(None not in subgraph.tensors[i].shape for i in subgraph.inputs)


def _rank(op: OpContext) -> None:
    op.state.constants[op.result().index] = np.array(op.rank(0), np.int32)


def _zeros_like(op: OpContext) -> None:
    zero = onnx_ir.tensor(np.zeros(1, op.compute_type()))
    op.emit(op.op("ConstantOfShape", op.op("Shape", op.raw(0)), value=zero))


def _bitcast(op: OpContext) -> None:
    if op.tensor(0).dtype != op.result().dtype:
        raise CannotRead("ONNX cannot reinterpret the bits of a tensor")
    op.emit_raw(op.op("Identity", op.raw(0)))


OPS: dict[str, Lowering] = {
    "BITCAST": _bitcast,
    "BROADCAST_ARGS": _broadcast_args,
    "BROADCAST_TO": _broadcast_to,
    "CONCATENATION": _concatenation,
    "EXPAND_DIMS": _expand_dims,
    "FILL": _fill,
    "PACK": _pack,
    "RANGE": _range,
    "RANK": _rank,
    "RESHAPE": _reshape,
    "SHAPE": _shape,
    "SPLIT": _split_equally,
    "SPLIT_V": _split_v,
    "SQUEEZE": _squeeze,
    "TILE": _tile,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
    "ZEROS_LIKE": _zeros_like,
}
