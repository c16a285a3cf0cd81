"""Reading shapes and editing attributes, constants and shapes of nodes whose axes are permuted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir
from numpy.typing import NDArray

from edgekit.passes.canonicalize.permutations import Dims, Perm
from edgekit.passes.canonicalize.rewrite import add_constant, dims, graph_of, input_at


def dims_of(value: onnx_ir.Value | None) -> Dims:
    """Sizes; symbolic ones by name; none at all when the rank is unknown."""
    return dims(value) or ()


def int_of(node: onnx_ir.Node, name: str, default: int) -> int:
    """An integer attribute."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def set_int(node: onnx_ir.Node, name: str, number: int) -> None:
    """Set an integer attribute."""
    node.attributes[name] = onnx_ir.AttrInt64(name, number)


def replace_constant(node: onnx_ir.Node, index: int, data: NDArray[Any]) -> None:
    """Let a node read another constant in place of one of its own."""
    old = input_at(node, index)
    hint = (old.name if old is not None else None) or f"{node.name}/{index}"
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, add_constant(graph_of(node), data, hint))


def permute_shape(value: onnx_ir.Value, perm: Perm) -> None:
    """Reorder the sizes of a value."""
    if value.shape is not None:
        value.shape = onnx_ir.Shape([value.shape[axis] for axis in perm])


def normalized(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front."""
    return tuple(int(axis) % rank for axis in axes)
