"""Follows computations on shapes, symbolic sizes included, without running anything."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir

from edgekit.passes.canonicalize.rewrite import (
    attribute,
    dims,
    input_at,
    integers,
    is_constant,
    is_op,
    rank,
)

Entry = int | str | None
"""One element of a shape tensor: a number, the name of a symbolic size, or unknown."""

_DEPTH = 24
_LONGEST = 64


def shape_entries(value: onnx_ir.Value | None, depth: int = _DEPTH) -> tuple[Entry, ...] | None:
    """The elements of a small integer tensor, as far as they follow from the shapes in the graph.

    Args:
        value: a tensor of rank 0 or 1 that holds sizes.
        depth: how many nodes to look back.

    Returns:
        Its elements in order; None if nothing is known, not even how many there are.
    """
    if value is not None and value.const_value is not None and is_constant(value):
        small = value.const_value.size <= _LONGEST and len(value.const_value.shape) <= 1
        return integers(value) if small else None
    node = value.producer() if value is not None else None
    if node is None or depth == 0 or not is_op(node, *_FOLLOW):
        return None
    found: tuple[Entry, ...] | None = _FOLLOW[node.op_type](node, depth - 1)
    return found


def _shape(node: onnx_ir.Node, depth: int) -> tuple[Entry, ...] | None:
    sizes = dims(node.inputs[0])
    if sizes is None:
        return None
    return sizes[attribute(node, "start", 0) : attribute(node, "end", len(sizes))]


def _same(node: onnx_ir.Node, depth: int) -> tuple[Entry, ...] | None:
    return shape_entries(node.inputs[0], depth)


def _cast(node: onnx_ir.Node, depth: int) -> tuple[Entry, ...] | None:
    to = onnx_ir.DataType(attribute(node, "to"))
    if to not in (onnx_ir.DataType.INT64, onnx_ir.DataType.INT32):
        return None
    return shape_entries(node.inputs[0], depth)


def _unsqueeze(node: onnx_ir.Node, depth: int) -> tuple[Entry, ...] | None:
    return shape_entries(node.inputs[0], depth) if rank(node.outputs[0]) == 1 else None


def _gather(node: onnx_ir.Node, depth: int) -> tuple[Entry, ...] | None:
    entries = shape_entries(node.inputs[0], depth)
    indices = integers(node.inputs[1])
    if entries is None or indices is None or (rank(node.inputs[1]) or 0) > 1:
        return None
    if any(not -len(entries) <= i < len(entries) for i in indices):
        return None
    return tuple(entries[i] for i in indices)


def _slice(node: onnx_ir.Node, depth: int) -> tuple[Entry, ...] | None:
    entries = shape_entries(node.inputs[0], depth)
    starts, ends = integers(node.inputs[1]), integers(node.inputs[2])
    steps = integers(input_at(node, 4)) if input_at(node, 4) is not None else (1,)
    if entries is None or starts is None or ends is None or steps is None:
        return None
    if len(starts) != 1 or len(steps) != 1 or steps[0] < 1:
        return None
    return entries[slice(starts[0], ends[0], steps[0])]


def _concat(node: onnx_ir.Node, depth: int) -> tuple[Entry, ...] | None:
    parts: list[Entry] = []
    for value in node.inputs:
        entries = shape_entries(value, depth)
        if entries is None:
            if dims(value) != (1,):
                return None
            entries = (None,)
        parts.extend(entries)
    return tuple(parts) if len(parts) <= _LONGEST else None


def _arithmetic(
    calculate: Callable[[int, int], int],
) -> Callable[[onnx_ir.Node, int], tuple[Entry, ...] | None]:
    def follow(node: onnx_ir.Node, depth: int) -> tuple[Entry, ...] | None:
        left, right = (shape_entries(value, depth) for value in node.inputs[:2])
        if left is None or right is None:
            return None
        length = max(len(left), len(right))
        if {len(left), len(right)} - {1, length}:
            return None
        left, right = (e * length if len(e) == 1 else e for e in (left, right))
        return tuple(_combine(node, calculate, a, b) for a, b in zip(left, right, strict=True))

    return follow


def _combine(node: onnx_ir.Node, calculate: Callable[[int, int], int], a: Entry, b: Entry) -> Entry:
    if isinstance(a, int) and isinstance(b, int):
        return None if node.op_type == "Div" and b == 0 else calculate(a, b)
    neutral = {"Mul": 1, "Div": 1, "Add": 0, "Sub": 0}[node.op_type]
    if b == neutral:
        return a
    return b if a == neutral and node.op_type in ("Mul", "Add") else None


def _constant_of_shape(node: onnx_ir.Node, depth: int) -> tuple[Entry, ...] | None:
    length = shape_entries(node.inputs[0], depth)
    fill = node.attributes.get("value")
    if length is None or len(length) != 1 or not isinstance(length[0], int) or fill is None:
        return None
    number = fill.as_tensor().numpy().reshape(-1)[0]
    small = 0 <= length[0] <= _LONGEST and number.dtype.kind in "iu"
    return (int(number),) * length[0] if small else None


def _reshape(node: onnx_ir.Node, depth: int) -> tuple[Entry, ...] | None:
    return shape_entries(node.inputs[0], depth) if rank(node.outputs[0]) == 1 else None


def _equal(node: onnx_ir.Node, depth: int) -> tuple[Entry, ...] | None:
    """Truth values as 1 and 0; a symbolic size is no negative number."""
    left, right = (shape_entries(value, depth) for value in node.inputs)
    if left is None or right is None or len(left) != len(right):
        return None
    return tuple(_same_entry(a, b) for a, b in zip(left, right, strict=True))


def _same_entry(a: Entry, b: Entry) -> Entry:
    if isinstance(a, int) and isinstance(b, int):
        return int(a == b)
    number, other = (a, b) if isinstance(a, int) else (b, a)
    negative = isinstance(number, int) and number < 0 and isinstance(other, str)
    return 0 if negative else None


def _where(node: onnx_ir.Node, depth: int) -> tuple[Entry, ...] | None:
    choices, yes, no = (shape_entries(value, depth) for value in node.inputs)
    if choices is None or yes is None or no is None or not len(choices) == len(yes) == len(no):
        return None
    return tuple(
        None if choice is None else (a if choice else b)
        for choice, a, b in zip(choices, yes, no, strict=True)
    )


def _quotient(a: int, b: int) -> int:
    return int(np.trunc(a / b)) if abs(a) < 2**52 else a // b


_FOLLOW: dict[str, Callable[[onnx_ir.Node, int], Any]] = {
    "Shape": _shape,
    "Identity": _same,
    "Cast": _cast,
    "Squeeze": _same,
    "Unsqueeze": _unsqueeze,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Equal": _equal,
    "Reshape": _reshape,
    "Where": _where,
    "Add": _arithmetic(operator.add),
    "Sub": _arithmetic(operator.sub),
    "Mul": _arithmetic(operator.mul),
    "Div": _arithmetic(_quotient),
}
