"""Recognises fully connected layers."""

from __future__ import annotations

import numpy as np
import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.rewrite import (
    add_node,
    constant_like,
    floats,
    is_constant,
    only_reader,
    producer,
    rank,
    replace,
    static_dims,
)


class FuseGemm(NodePass):
    """Writes a MatMul of rank 2 with a constant weight, and the Add behind it, as one Gemm.

    ```
    before   a = MatMul(x: float32[N, 64], w: float32[64, 10]); y = Add(a, b: float32[10])
    after    y = Gemm(x, w, b)
    ```

    A MatMul of higher rank stays: flattening it would only move reshapes into the graph.
    """

    ops = frozenset({"Add"})

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Fuse one Add."""
        for data, other in (node.inputs[:2], node.inputs[1::-1]):
            product = producer(data, "MatMul")
            if product is None or not only_reader(data) or rank(data) != 2:
                continue
            weight, bias = product.inputs[1], floats(other)
            matrix = static_dims(weight)
            if weight is None or not is_constant(weight) or matrix is None or bias is None:
                continue
            if rank(product.inputs[0]) != 2 or len(matrix) != 2:
                continue
            if bias.shape not in ((), (1,), (1, 1), (matrix[1],), (1, matrix[1])):
                continue
            row = np.broadcast_to(bias.reshape(-1), (matrix[1],))
            inputs = [*product.inputs, constant_like(node, row, weight, _name(other))]
            output = node.outputs[0]
            replace(output, add_node(node, "Gemm", inputs, like=output, name=product.name))
            return True
        return False


def _name(value: onnx_ir.Value | None) -> str | None:
    return value.name if value is not None else None
