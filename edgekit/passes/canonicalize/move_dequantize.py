"""Keeps integer weights next to the operator that uses them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.ir.model import OPSET
from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.evaluate import evaluate
from edgekit.passes.canonicalize.rewrite import (
    add_constant,
    attribute,
    constant,
    dims,
    graph_of,
    input_at,
    producer,
    replace,
)


class MoveDequantize(NodePass):
    """Applies a Transpose or a view of a dequantized constant to its integers.

    ```
    before   a = DequantizeLinear[axis=3](q: int8[3, 3, 1, 8], s); w = Transpose[3, 2, 0, 1](a)
    after    w = DequantizeLinear[axis=0](q: int8[8, 1, 3, 3], s)
    ```
    """

    ops = frozenset({"Reshape", "Squeeze", "Transpose", "Unsqueeze"})

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Move one node in front of the DequantizeLinear that it reads."""
        dequantize = producer(node.inputs[0], "DequantizeLinear")
        data = constant(dequantize.inputs[0]) if dequantize is not None else None
        if dequantize is None or data is None or attribute(dequantize, "block_size", 0):
            return False
        rest = [constant(value) for value in node.inputs[1:]]
        axis = _new_axis(node, dequantize)
        if axis is None or any(array is None for array in rest):
            return False
        moved = evaluate(node, [data, *rest], OPSET)
        if moved is None or moved[0].dtype != data.dtype:
            return False
        _emit(node, dequantize, moved[0], axis)
        return True


def _emit(
    node: onnx_ir.Node, dequantize: onnx_ir.Node, array: NDArray[np.generic], axis: int
) -> None:
    graph = graph_of(node)
    old = dequantize.inputs[0]
    value = add_constant(graph, array, (old.name if old is not None else None) or "weight")
    copy = onnx_ir.node(
        "DequantizeLinear",
        [value, *dequantize.inputs[1:]],
        {"axis": axis},
        outputs=[onnx_ir.val(None)],
    )
    graph.insert_before(node, copy)
    replace(node.outputs[0], copy.outputs[0])


def _new_axis(node: onnx_ir.Node, dequantize: onnx_ir.Node) -> int | None:
    """Where the axis of the scales goes; 0 if there is one scale for all."""
    scale, sizes = constant(input_at(dequantize, 1)), dims(dequantize.inputs[0])
    if scale is None or sizes is None:
        return None
    if scale.size == 1 and scale.ndim == 0:
        return 0
    axis = attribute(dequantize, "axis", 1) % len(sizes)
    return _AXIS[node.op_type](node, axis, tuple(s for s in sizes if isinstance(s, int)))


def _transposed(node: onnx_ir.Node, axis: int, sizes: tuple[int, ...]) -> int | None:
    perm = attribute(node, "perm") or tuple(reversed(range(len(sizes))))
    return int(perm.index(axis))


def _viewed(node: onnx_ir.Node, axis: int, sizes: tuple[int, ...]) -> int | None:
    target = dims(node.outputs[0])
    if target is None or not all(isinstance(size, int) for size in target):
        return None
    numbers = [size for size in target if isinstance(size, int)]
    before = np.prod(sizes[:axis], dtype=np.int64)
    for new, size in enumerate(numbers):
        if size == sizes[axis] and np.prod(numbers[:new], dtype=np.int64) == before:
            return new
    return None


_AXIS: dict[str, Callable[[onnx_ir.Node, int, tuple[int, ...]], int | None]] = {
    "Reshape": _viewed,
    "Squeeze": _viewed,
    "Transpose": _transposed,
    "Unsqueeze": _viewed,
}
