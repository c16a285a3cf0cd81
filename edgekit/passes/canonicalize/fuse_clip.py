"""Recognises clipping."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.algebra import number
from edgekit.passes.canonicalize.rewrite import (
    add_node,
    constant_like,
    has_input,
    is_op,
    only_reader,
    replace,
    scalar,
)


@dataclass(frozen=True)
class Bounds:
    """What a clip lets through."""

    low: float
    high: float

    def after(self, first: Bounds) -> Bounds:
        """This, applied to the result of `first`."""
        return Bounds(self.clip(first.low), self.clip(first.high))

    def clip(self, x: float) -> float:
        """The nearest number within the bounds."""
        return min(max(x, self.low), self.high)


class FuseClip(NodePass):
    """Writes Min, Max, Relu and Clip with constant bounds, and chains of them, as Relu or Clip.

    ```
    before   a = Relu(x); y = Min(a, 6.0)
    after    y = Clip(x, 0.0, 6.0)
    ```
    """

    ops = frozenset({"Clip", "Max", "Min", "Relu"})

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Fuse the chain that ends in one node."""
        found = clip_bounds(node)
        if found is None:
            return False
        data, bounds = found
        chain = 1
        while only_reader(data):
            maker = data.producer()
            first = clip_bounds(maker) if maker is not None else None
            if first is None:
                break
            data, bounds, chain = first[0], bounds.after(first[1]), chain + 1
        op_type = "Relu" if bounds == Bounds(0.0, math.inf) else "Clip"
        if chain == 1 and node.op_type == op_type:
            return False
        replace(node.outputs[0], _emit(node, op_type, data, bounds))
        return True


def _emit(node: onnx_ir.Node, op_type: str, data: onnx_ir.Value, bounds: Bounds) -> onnx_ir.Value:
    inputs: list[onnx_ir.Value | None] = [data]
    if op_type == "Clip":
        for role, bound in (("min", bounds.low), ("max", bounds.high)):
            name = f"{node.name}_{role}"
            finite = math.isfinite(bound)
            inputs.append(constant_like(node, np.array(bound), data, name) if finite else None)
    if inputs[-1] is None:
        inputs.pop()
    return add_node(node, op_type, inputs, like=node.outputs[0], name=node.name)


def clip_bounds(node: onnx_ir.Node) -> tuple[onnx_ir.Value, Bounds] | None:
    """What a node clips, and to which bounds; None for any other node."""
    data = node.inputs[0] if node.inputs else None
    if data is None or data.dtype is None or not data.dtype.is_floating_point():
        return None
    if is_op(node, "Relu"):
        return data, Bounds(0.0, math.inf)
    if is_op(node, "Clip"):
        return _of_clip(node, data)
    if not is_op(node, "Min", "Max") or len(node.inputs) != 2:
        return None
    for value, other in (node.inputs, node.inputs[::-1]):
        bound = number(other, value)
        if bound is not None and value is not None and not math.isnan(bound):
            low = bound if node.op_type == "Max" else -math.inf
            high = bound if node.op_type == "Min" else math.inf
            return value, Bounds(low, high)
    return None


def _of_clip(node: onnx_ir.Node, data: onnx_ir.Value) -> tuple[onnx_ir.Value, Bounds] | None:
    ends = [-math.inf, math.inf]
    for index in (0, 1):
        if has_input(node, index + 1):
            bound = scalar(node.inputs[index + 1])
            if bound is None or math.isnan(bound):
                return None
            ends[index] = bound
    return (data, Bounds(ends[0], ends[1])) if ends[0] <= ends[1] else None
