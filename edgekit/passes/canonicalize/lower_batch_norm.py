"""Writes a BatchNormalization that stands alone as a multiplication and an addition."""

from __future__ import annotations

import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.affine import as_affine
from edgekit.passes.canonicalize.rewrite import add_node, constant_like, replace


class LowerBatchNorm(NodePass):
    """Turns what `FoldAffine` had to leave into two operators that every target has.

    ```
    before   y = BatchNormalization(x, scale, bias, mean, var)
    after    y = Add(Mul(x, s), t)      s = scale / sqrt(var + epsilon), t = bias - mean * s
    ```
    """

    ops = frozenset({"BatchNormalization"})

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Lower one node with constant statistics."""
        found = as_affine(node)
        if found is None:
            return False
        data, affine = found
        output, name = node.outputs[0], node.name or "BatchNormalization"
        scale = constant_like(node, affine.scale, data, f"{name}_scale")
        shift = constant_like(node, affine.shift, data, f"{name}_shift")
        scaled = add_node(node, "Mul", [data, scale], like=output, name=name)
        replace(output, add_node(node, "Add", [scaled, shift], like=output, name=name))
        return True
