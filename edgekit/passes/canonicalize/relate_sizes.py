"""Finds out which unknown sizes are sizes that have a name already."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir

from edgekit.passes.base import DEFAULT_DOMAINS
from edgekit.passes.canonicalize.rewrite import (
    attribute,
    constant,
    dims,
    has_input,
    input_at,
    integers,
)
from edgekit.passes.canonicalize.shape_values import Entry, shape_entries
from edgekit.passes.canonicalize.simplify_shapes import view_sizes

Sizes = tuple[Entry, ...]

_MOST_ROUNDS = 4


def relate_sizes(model: onnx_ir.Model, names: frozenset[str]) -> None:
    """Replace sizes that onnx could not relate to the inputs by what they are.

    onnx gives up on `Reshape(x: [N, 4, 8], [-1, 8])` followed by the way back, on a Resize with a
    scale of 1 for the batch, and on Expand by a computed shape; it invents a symbol there, which
    then goes through the rest of the graph. One rule for each of them finds the name again.

    Args:
        model: a graph just after onnx's shape inference; its shapes are changed.
        names: the symbolic sizes of the inputs.
    """
    for _ in range(_MOST_ROUNDS):
        found: dict[str, int | str] = {}
        for node in model.graph:
            rule = _RULES.get(node.op_type) if node.domain in DEFAULT_DOMAINS else None
            if rule is not None:
                _learn(node.outputs[0], rule(node), names, found)
        if not found:
            return
        for graph in model.graphs():
            for node in graph:
                for value in node.outputs:
                    _rename(value, found)


def _learn(
    value: onnx_ir.Value, sizes: Sizes | None, names: frozenset[str], found: dict[str, int | str]
) -> None:
    old = dims(value)
    if old is None or sizes is None or len(old) != len(sizes):
        return
    for before, after in zip(old, sizes, strict=True):
        invented = isinstance(before, str) and before not in names
        if invented and isinstance(before, str) and (isinstance(after, int) or after in names):
            found[before] = after if isinstance(after, int) else str(after)


def _rename(value: onnx_ir.Value, found: dict[str, int | str]) -> None:
    old = dims(value)
    if old is not None and any(size in found for size in old if isinstance(size, str)):
        value.shape = onnx_ir.Shape(found.get(d, d) if isinstance(d, str) else d for d in old)


def _resize(node: onnx_ir.Node) -> Sizes | None:
    sizes, scales = dims(node.inputs[0]), constant(input_at(node, 2))
    if sizes is None or scales is None or len(scales) != len(sizes):
        return None
    return tuple(size if scale == 1 else None for size, scale in zip(sizes, scales, strict=True))


def _expand(node: onnx_ir.Node) -> Sizes | None:
    sizes, entries = dims(node.inputs[0]), shape_entries(node.inputs[1])
    if sizes is None or entries is None:
        return None
    length = max(len(sizes), len(entries))
    own: Sizes = (1,) * (length - len(sizes)) + sizes
    wanted: Sizes = (1,) * (length - len(entries)) + entries
    return tuple(w if s == 1 else s for s, w in zip(own, wanted, strict=True))


def _concat(node: onnx_ir.Node) -> Sizes | None:
    """All axes but one are the same in all inputs."""
    shapes = [dims(value) for value in node.inputs]
    first = shapes[0]
    if first is None or any(shape is None or len(shape) != len(first) for shape in shapes):
        return None
    axis = attribute(node, "axis", 0) % len(first)
    known = [shape for shape in shapes if shape is not None]
    return tuple(
        _sum(known, axis) if index == axis else _best([shape[index] for shape in known])
        for index in range(len(first))
    )


def _sum(shapes: list[Sizes], axis: int) -> Entry:
    total = 0
    for shape in shapes:
        size = shape[axis]
        if not isinstance(size, int):
            return None
        total += size
    return total


def _best(sizes: list[Entry]) -> Entry:
    numbers = [size for size in sizes if isinstance(size, int)]
    return numbers[0] if numbers else sizes[0]


def _pad(node: onnx_ir.Node) -> Sizes | None:
    sizes, pads = dims(node.inputs[0]), integers(input_at(node, 1))
    if sizes is None or pads is None or has_input(node, 3) or len(pads) != 2 * len(sizes):
        return None
    ends = pads[len(sizes) :]
    return tuple(
        None if begin or end else size for size, begin, end in zip(sizes, pads, ends, strict=False)
    )


def _tile(node: onnx_ir.Node) -> Sizes | None:
    sizes, repeats = dims(node.inputs[0]), integers(node.inputs[1])
    if sizes is None or repeats is None or len(repeats) != len(sizes):
        return None
    return tuple(size if count == 1 else None for size, count in zip(sizes, repeats, strict=True))


_RULES: dict[str, Callable[[onnx_ir.Node], Sizes | None]] = {
    "Concat": _concat,
    "Expand": _expand,
    "Pad": _pad,
    "Reshape": view_sizes,
    "Resize": _resize,
    "Tile": _tile,
}
