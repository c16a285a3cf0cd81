"""Removes nodes that give back what they get."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.rewrite import (
    attribute,
    constant,
    dims,
    has_input,
    input_at,
    integers,
    replace,
    same_dims,
)
from edgekit.passes.canonicalize.shape_values import shape_entries

Kept = onnx_ir.Value | None


def _always(node: onnx_ir.Node) -> Kept:
    return node.inputs[0]


def _dropout(node: onnx_ir.Node) -> Kept:
    training = constant(input_at(node, 2)) if has_input(node, 2) else np.array(False)
    mask = node.outputs[1:]
    if training is None or bool(training.any()) or any(_used(value) for value in mask):
        return None
    return node.inputs[0]


def _used(value: onnx_ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _cast(node: onnx_ir.Node) -> Kept:
    value = node.inputs[0]
    same = value is not None and value.dtype is not None and value.dtype == attribute(node, "to")
    return value if same else None


def _same_shape(node: onnx_ir.Node) -> Kept:
    """For operators that only move or repeat elements in order: equal shapes mean equal values."""
    value, output = node.inputs[0], node.outputs[0]
    return value if same_dims(value, output) or _same_but_one(value, output) else None


def _same_but_one(value: Kept, output: onnx_ir.Value) -> bool:
    """Whether shapes with equal numbers of elements can differ nowhere."""
    left, right = dims(value), dims(output)
    if left is None or right is None or len(left) != len(right) or 0 in left:
        return False
    pairs = list(zip(left, right, strict=True))
    unknown = [(a, b) for a, b in pairs if a != b or a is None]
    return len(unknown) == 1 and not all(isinstance(size, int) for size in unknown[0])


def _equal_shape(node: onnx_ir.Node) -> Kept:
    return node.inputs[0] if same_dims(node.inputs[0], node.outputs[0]) else None


def _transpose(node: onnx_ir.Node) -> Kept:
    perm = attribute(node, "perm")
    if perm is None:
        sizes = dims(node.inputs[0])
        return node.inputs[0] if sizes is not None and len(sizes) < 2 else None
    return node.inputs[0] if perm == tuple(range(len(perm))) else None


def _slice(node: onnx_ir.Node) -> Kept:
    steps = integers(input_at(node, 4)) if has_input(node, 4) else (1,)
    if steps is None or any(step != 1 for step in steps):
        return None
    if same_dims(node.inputs[0], node.outputs[0]):
        return node.inputs[0]
    starts, ends = integers(node.inputs[1]), integers(node.inputs[2])
    whole = starts is not None and ends is not None and not any(starts)
    return node.inputs[0] if whole and all(end >= 2**31 - 1 for end in ends or ()) else None


def _pad(node: onnx_ir.Node) -> Kept:
    pads = integers(input_at(node, 1))
    return node.inputs[0] if pads is not None and not any(pads) else None


def _tile(node: onnx_ir.Node) -> Kept:
    repeats = integers(node.inputs[1])
    ones = repeats is not None and all(count == 1 for count in repeats)
    return node.inputs[0] if ones else None


def _single(node: onnx_ir.Node) -> Kept:
    return node.inputs[0] if len(node.inputs) == 1 else None


def _split(node: onnx_ir.Node) -> Kept:
    return node.inputs[0] if len(node.outputs) == 1 else None


def _neutral(number: float, *, both: bool) -> Callable[[onnx_ir.Node], Kept]:
    """For arithmetic with a constant that changes nothing, on the right or on both sides."""

    def kept(node: onnx_ir.Node) -> Kept:
        sides = ((0, 1), (1, 0)) if both else ((0, 1),)
        for data, other in sides:
            array = constant(node.inputs[other])
            value = node.inputs[data]
            if array is None or not same_dims_or_scalar(value, node.inputs[other], node):
                continue
            if array.dtype.kind in "fiu" and bool((array == number).all()):
                return value
        return None

    return kept


def same_dims_or_scalar(value: Kept, other: Kept, node: onnx_ir.Node) -> bool:
    """Whether broadcasting with `other` leaves the shape of `value` as it is."""
    if same_dims(value, node.outputs[0]):
        return True
    sizes, partner = dims(value), dims(other)
    if sizes is None or partner is None or len(partner) > len(sizes):
        return False
    return all(size == 1 for size in partner)


def _pool(node: onnx_ir.Node) -> Kept:
    kernel = attribute(node, "kernel_shape", ())
    moved = (*attribute(node, "strides", ()), *(p + 1 for p in attribute(node, "pads", ())))
    plain = all(size == 1 for size in (*kernel, *moved)) and len(node.outputs) == 1
    return node.inputs[0] if plain and kernel else None


def _reduce(node: onnx_ir.Node) -> Kept:
    """A mean, sum, minimum or maximum over axes of size 1 that stay."""
    axes = integers(input_at(node, 1)) if has_input(node, 1) else ()
    if axes == () and attribute(node, "noop_with_empty_axes", 0):
        return node.inputs[0]
    sizes = dims(node.inputs[0])
    if sizes is None or not axes or not attribute(node, "keepdims", 1):
        return None
    return node.inputs[0] if all(sizes[axis] == 1 for axis in axes) else None


def _clip(node: onnx_ir.Node) -> Kept:
    return None if has_input(node, 1) or has_input(node, 2) else node.inputs[0]


def _resize(node: onnx_ir.Node) -> Kept:
    mode = attribute(node, "coordinate_transformation_mode", "half_pixel")
    if mode == "tf_crop_and_resize" or attribute(node, "antialias", 0):
        return None
    scales = constant(input_at(node, 2))
    if scales is not None and scales.size and (scales == 1).all():
        return node.inputs[0]
    return _equal_shape(node)


def _block(node: onnx_ir.Node) -> Kept:
    return node.inputs[0] if attribute(node, "blocksize") == 1 else None


def _where(node: onnx_ir.Node) -> Kept:
    """A choice between sizes that the symbolic sizes decide."""
    choices = shape_entries(node.inputs[0])
    if not choices or None in choices or len(set(choices)) != 1:
        return None
    chosen = node.inputs[1 if choices[0] else 2]
    return chosen if same_dims(chosen, node.outputs[0]) else None


_NO_OPS: dict[str, Callable[[onnx_ir.Node], Kept]] = {
    "Add": _neutral(0, both=True),
    "AveragePool": _pool,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _single,
    "DepthToSpace": _block,
    "Div": _neutral(1, both=False),
    "Dropout": _dropout,
    "Expand": _equal_shape,
    "Flatten": _same_shape,
    "Identity": _always,
    "Max": _single,
    "MaxPool": _pool,
    "Mean": _single,
    "Min": _single,
    "Mul": _neutral(1, both=True),
    "Pad": _pad,
    "Pow": _neutral(1, both=False),
    "ReduceMax": _reduce,
    "ReduceMean": _reduce,
    "ReduceMin": _reduce,
    "ReduceProd": _reduce,
    "ReduceSum": _reduce,
    "Reshape": _same_shape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _block,
    "Split": _split,
    "Squeeze": _same_shape,
    "Sub": _neutral(0, both=False),
    "Sum": _single,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _same_shape,
    "Where": _where,
}


class RemoveNoOps(NodePass):
    """Removes Identity, inactive Dropout, and what does nothing with the shapes and constants here.

    ```
    before   a = Cast[to=float](x: float32[N, 4]); b = Mul(a, 1.0); y = Flatten(b)
    after    y = x
    ```

    An Identity stays where a graph output would otherwise be an input, a constant, or the same
    value as another output.
    """

    ops = frozenset(_NO_OPS)

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Remove one node if it does nothing."""
        kept = _NO_OPS[node.op_type](node)
        if kept is None or not _may_replace(node, kept):
            return False
        replace(node.outputs[0], kept)
        return True


def _may_replace(node: onnx_ir.Node, kept: onnx_ir.Value) -> bool:
    output = node.outputs[0]
    if kept.dtype is not None and output.dtype is not None and kept.dtype != output.dtype:
        return False
    if not output.is_graph_output() or node.op_type != "Identity":
        return True
    return not (kept.producer() is None or kept.is_graph_output() or kept.graph is not node.graph)
