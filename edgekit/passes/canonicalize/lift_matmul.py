"""Multiplies sequences by matrices as they are, without flattening them first."""

from __future__ import annotations

import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.rewrite import (
    add_node,
    dims,
    is_constant,
    only_reader,
    producer,
    replace,
    static_dims,
)


class LiftMatMul(NodePass):
    """Removes the flattening around a product with a constant matrix.

    ```
    before   a = Reshape(x: float32[N, 10, 4], [-1, 4]); b = MatMul(a, w: float32[4, 8])
             y = Reshape(b, [-1, 10, 8])
    after    y = MatMul(x, w)
    ```

    TensorFlow writes dense layers on sequences like this, and the batch gets lost on the way.
    """

    ops = frozenset({"Reshape"})

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Lift the product behind which one Reshape restores the leading axes."""
        product = producer(node.inputs[0], "MatMul")
        flat = producer(product.inputs[0], "Reshape") if product is not None else None
        if product is None or flat is None or not only_reader(node.inputs[0]):
            return False
        data, weight = flat.inputs[0], product.inputs[1]
        matrix = static_dims(weight)
        if not is_constant(weight) or matrix is None or len(matrix) != 2:
            return False
        if not _same_leading_axes(data, node.outputs[0]):
            return False
        source, result = dims(data), dims(node.outputs[0])
        if source is None or result is None or (source[-1], result[-1]) != matrix:
            return False
        replace(node.outputs[0], add_node(node, "MatMul", [data, weight], name=product.name))
        return True


def _same_leading_axes(data: onnx_ir.Value | None, result: onnx_ir.Value) -> bool:
    """Whether all axes but the last agree; one unknown follows from the number of elements."""
    left, right = dims(data), dims(result)
    if left is None or right is None or len(left) != len(right) or len(left) < 2:
        return False
    pairs = list(zip(left[:-1], right[:-1], strict=True))
    open_pairs = [pair for pair in pairs if pair[0] != pair[1] or pair[0] is None]
    if 0 in left or any(isinstance(a, int) and isinstance(b, int) for a, b in open_pairs):
        return False
    return len(open_pairs) <= 1
