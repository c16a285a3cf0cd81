"""Makes shape arithmetic explicit: constant target shapes, one Reshape instead of several."""

from __future__ import annotations

import numpy as np
import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.rewrite import (
    add_constant,
    add_node,
    attribute,
    constant,
    dims,
    graph_of,
    integers,
    producer,
    replace,
)
from edgekit.passes.canonicalize.shape_values import Entry, shape_entries

_VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")


class SimplifyShapes(NodePass):
    """Writes the target of every Reshape as a constant where it is known, and merges views.

    ```
    before   a = Squeeze(x: float32[N, 1, 4, 8], [1]); s = Concat(Shape(x)[0:1], [32])
             y = Reshape(a, s)
    after    y = Reshape(x, [0, 32])
    ```

    A known size is written as the number, one symbolic size that stays in place as 0 ("as in the
    input"), one that does not as -1.
    """

    ops = frozenset(_VIEWS)

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Simplify one view."""
        sizes = view_sizes(node)
        source = _origin(node, sizes) if sizes is not None else None
        if sizes is None or source is None:
            return False
        if node.op_type != "Reshape" and source is node.inputs[0]:
            return False
        target = _write(_complete(sizes, dims(source)), dims(source))
        if target is None:
            return False
        if node.op_type == "Reshape" and source is node.inputs[0] and _is_target(node, target):
            return False
        name = node.name or "Reshape"
        shape = add_constant(graph_of(node), np.array(target, np.int64), f"{name}_shape")
        output = node.outputs[0]
        replace(output, add_node(node, "Reshape", [source, shape], like=output, name=name))
        return True


def _is_target(node: onnx_ir.Node, target: tuple[int, ...]) -> bool:
    same = constant(node.inputs[1]) is not None and integers(node.inputs[1]) == target
    return same and not attribute(node, "allowzero", 0)


def _origin(node: onnx_ir.Node, sizes: tuple[Entry, ...]) -> onnx_ir.Value | None:
    """Where a chain of views begins, as far back as the shape can still be written."""
    source = node.inputs[0]
    while True:
        before = producer(source, *_VIEWS)
        candidate = before.inputs[0] if before is not None else None
        if candidate is None or dims(candidate) is None:
            return source
        if _write(_complete(sizes, dims(candidate)), dims(candidate)) is None:
            return source
        source = candidate


def view_sizes(node: onnx_ir.Node) -> tuple[Entry, ...] | None:
    """What inference and the target together know about the shape of a view's output."""
    sizes = dims(node.outputs[0])
    source = dims(node.inputs[0])
    if sizes is not None and node.op_type == "Reshape":
        entries = shape_entries(node.inputs[1])
        if entries is not None and len(entries) == len(sizes):
            known = _entries_as_sizes(entries, source, bool(attribute(node, "allowzero", 0)))
            sizes = tuple(
                size if isinstance(size, int) or entry is None else entry
                for size, entry in zip(sizes, known, strict=True)
            )
    return None if sizes is None else _complete(sizes, source)


def _entries_as_sizes(
    entries: tuple[Entry, ...], source: tuple[Entry, ...] | None, zero_is_zero: bool
) -> tuple[Entry, ...]:
    known: list[Entry] = []
    for axis, entry in enumerate(entries):
        if entry == 0 and not zero_is_zero:
            known.append(source[axis] if source is not None and axis < len(source) else None)
        else:
            known.append(None if entry == -1 else entry)
    return tuple(known)


def _complete(sizes: tuple[Entry, ...], source: tuple[Entry, ...] | None) -> tuple[Entry, ...]:
    """Name the only unknown size if it is the only symbolic size of the input."""
    if source is None:
        return sizes
    symbols = [size for size in source if not isinstance(size, int)]
    unknown = [axis for axis, size in enumerate(sizes) if not isinstance(size, int)]
    if len(symbols) > 1 or len(unknown) != 1 or 0 in source or 0 in sizes:
        return sizes
    known_in = int(np.prod([size for size in source if isinstance(size, int)], dtype=np.int64))
    known_out = int(np.prod([size for size in sizes if isinstance(size, int)], dtype=np.int64))
    axis = unknown[0]
    if symbols and known_in == known_out:
        return (*sizes[:axis], symbols[0], *sizes[axis + 1 :])
    if not symbols and known_in % known_out == 0:
        return (*sizes[:axis], known_in // known_out, *sizes[axis + 1 :])
    return sizes


def _write(sizes: tuple[Entry, ...], source: tuple[Entry, ...] | None) -> tuple[int, ...] | None:
    if 0 in sizes:
        return None
    target: list[int] = []
    for axis, size in enumerate(sizes):
        if isinstance(size, int):
            target.append(size)
        elif size is not None and source is not None and source[axis : axis + 1] == (size,):
            target.append(0)
        else:
            target.append(-1)
    return tuple(target) if target.count(-1) <= 1 else None
