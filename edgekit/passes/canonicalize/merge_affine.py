"""Merges chains of scalings and shifts by constants."""

from __future__ import annotations

import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.affine import Affine, as_affine
from edgekit.passes.canonicalize.rewrite import add_node, constant_like, only_reader, replace


class MergeAffine(NodePass):
    """Writes a chain of Mul, Add, Sub and Div by constants as at most one Mul and one Add.

    ```
    before   a = Mul(x, 1 / 255); b = Sub(a, mean); y = Div(b, std)
    after    a = Mul(x, 1 / (255 * std)); y = Add(a, -mean / std)
    ```
    """

    ops = frozenset({"Add", "Div", "Mul", "Sub"})

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Merge the chain that ends in `node`."""
        found = as_affine(node)
        if found is None or _continues(node):
            return False
        data, affine = found
        count, largest = 1, max(affine.scale.size, affine.shift.size)
        while only_reader(data):
            maker = data.producer()
            first = as_affine(maker) if maker is not None and maker.op_type in self.ops else None
            if first is None:
                break
            merged = affine.after(first[1])
            largest = max(largest, first[1].scale.size, first[1].shift.size)
            if max(merged.scale.size, merged.shift.size) > largest:
                break
            data, affine, count = first[0], merged, count + 1
        if count <= affine.scales + affine.shifts:
            return False
        replace(node.outputs[0], _emit(node, data, affine))
        return True


def _continues(node: onnx_ir.Node) -> bool:
    """Whether the only reader belongs to the chain too, so that it is the one to merge."""
    output = node.outputs[0]
    if not only_reader(output):
        return False
    reader, _ = next(iter(output.uses()))
    return reader.op_type in MergeAffine.ops and as_affine(reader) is not None


def _emit(node: onnx_ir.Node, data: onnx_ir.Value, affine: Affine) -> onnx_ir.Value:
    name = node.name or node.op_type
    value = data
    if affine.scales:
        scale = constant_like(node, affine.scale, data, f"{name}_scale")
        value = add_node(node, "Mul", [value, scale], like=node.outputs[0], name=name)
    if affine.shifts:
        shift = constant_like(node, affine.shift, data, f"{name}_shift")
        value = add_node(node, "Add", [value, shift], like=node.outputs[0], name=name)
    return value
