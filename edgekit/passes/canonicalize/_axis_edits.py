"""Reading shapes and editing attributes, constants and shapes of nodes whose axes are permuted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.passes.canonicalize._perms import Dims, Perm


def rank_of(value: onnx_ir.Value | None) -> int | None:
    """Number of axes; None when unknown."""
    return None if value is None or value.shape is None else len(value.shape)


def dims_of(value: onnx_ir.Value) -> Dims:
    """Sizes; symbolic ones by name."""
    if value.shape is None:
        return ()
    return tuple(size if isinstance(size, int) else size.value for size in value.shape)


def constant(value: onnx_ir.Value | None) -> NDArray[Any] | None:
    """The values of an initializer; None for anything else."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value.numpy()


def operand(node: onnx_ir.Node, index: int) -> onnx_ir.Value | None:
    """An operand, None when absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def int_of(node: onnx_ir.Node, name: str, default: int) -> int:
    """An integer attribute."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def set_int(node: onnx_ir.Node, name: str, number: int) -> None:
    """Set an integer attribute."""
    node.attributes[name] = onnx_ir.AttrInt64(name, number)


def new_constant(node: onnx_ir.Node, data: NDArray[Any], hint: str) -> onnx_ir.Value:
    """Register an initializer of the node's graph under an unused name."""
    graph = node.graph
    if not isinstance(graph, onnx_ir.Graph):
        raise TypeError(f"{node.op_type} '{node.name}' is not in a graph")
    name = hint
    count = 0
    while name in graph.initializers:
        count += 1
        name = f"{hint}_{count}"
    tensor = onnx_ir.tensor(np.ascontiguousarray(data).reshape(data.shape), name=name)
    value = onnx_ir.Value(
        name=name,
        shape=onnx_ir.Shape(data.shape),
        type=onnx_ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def replace_constant(node: onnx_ir.Node, index: int, data: NDArray[Any]) -> None:
    """Let a node read another constant in place of one of its own."""
    old = operand(node, index)
    hint = (old.name if old is not None else None) or f"{node.name}/{index}"
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, new_constant(node, data, f"{hint}/permuted"))


def permute_shape(value: onnx_ir.Value, perm: Perm) -> None:
    """Reorder the sizes of a value."""
    if value.shape is not None:
        value.shape = onnx_ir.Shape([value.shape[axis] for axis in perm])


def normalized(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front."""
    return tuple(int(axis) % rank for axis in axes)
