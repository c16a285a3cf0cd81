"""The part of a tensor's range that its readers can tell apart.

Integers saturate at the ends of their range for free. Where all that reads a tensor saturates too
(a Sigmoid beyond ±8, a HardSwish below −3, a Clip outside its bounds), values beyond that point
need no integers of their own, and the others get finer ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import onnx_ir

from edgekit.passes.quantize.conditions import is_float, operand
from edgekit.passes.quantize.constants import constant_data, is_constant


class Interval(NamedTuple):
    """Values that matter; both ends may be infinite."""

    low: float = -math.inf
    high: float = math.inf


_EVERYTHING = Interval()

_SATURATES: Mapping[str, Interval] = {
    # The results differ from their limits by less than a tenth of a step of 1/256 or 1/128.
    "Sigmoid": Interval(-8.0, 8.0),
    "Tanh": Interval(-4.0, 4.0),
    "HardSwish": Interval(low=-3.0),
    # The results differ from their limits by less than 0.0005.
    "Elu": Interval(low=-8.0),
    "Gelu": Interval(low=-4.0),
    "Relu": Interval(low=0.0),
}

_SWISH = Interval(low=-10.0)
"""The same for x · sigmoid(x)."""

_SELECTS = frozenset(
    {
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "MaxPool",
        "ReduceMax",
        "ReduceMin",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
"""Ops that give the same whether values saturate before them or after."""


def useful_intervals(graph: onnx_ir.Graph) -> dict[str, Interval]:
    """What interval of each float tensor its readers can tell apart, by tensor name.

    Tensors of which every value matters, and the graph's outputs, have no entry.

    Args:
        graph: a canonical graph, sorted.
    """
    found: dict[str, Interval] = {}
    for node in reversed(list(graph)):
        for value in (v for v in node.outputs if is_float(v)):
            seen = _seen(value, found)
            if seen != _EVERYTHING and value.name:
                found[value.name] = seen
    return found


def _seen(value: onnx_ir.Value, found: Mapping[str, Interval]) -> Interval:
    uses = value.uses()
    if not uses or value.is_graph_output():
        return _EVERYTHING
    parts = [_read(use.node, use.idx, found) for use in uses]
    return Interval(min(p.low for p in parts), max(p.high for p in parts))


def _read(node: onnx_ir.Node, index: int, found: Mapping[str, Interval]) -> Interval:
    if node.graph is None or node.domain not in ("", "ai.onnx"):
        return _EVERYTHING
    if node.op_type == "Clip":
        return _clip(node) if index == 0 else _EVERYTHING
    if node.op_type == "HardSigmoid":
        return _hard_sigmoid(node)
    if node.op_type == "Mul" and _is_swish(node):
        return _SWISH
    if node.op_type in _SELECTS:
        parts = [found.get(v.name or "", _EVERYTHING) for v in node.outputs if is_float(v)]
        if not parts:
            return _EVERYTHING
        return Interval(min(p.low for p in parts), max(p.high for p in parts))
    return _SATURATES.get(node.op_type, _EVERYTHING)


def _is_swish(node: onnx_ir.Node) -> bool:
    """Whether a product is of a tensor and its own Sigmoid."""
    for gate, data in (node.inputs, node.inputs[::-1]):
        maker = None if gate is None else gate.producer()
        if maker is not None and maker.op_type == "Sigmoid" and maker.inputs[0] is data:
            return True
    return False


def _hard_sigmoid(node: onnx_ir.Node) -> Interval:
    alpha, beta = (node.attributes.get(name) for name in ("alpha", "beta"))
    slope = 0.2 if alpha is None else alpha.as_float()
    middle = 0.5 if beta is None else beta.as_float()
    return Interval(-middle / slope, (1 - middle) / slope) if slope > 0 else _EVERYTHING


def _clip(node: onnx_ir.Node) -> Interval:
    low, high = _bound(node, 1, -math.inf), _bound(node, 2, math.inf)
    # Bounds in the wrong order make a constant of everything; leave that to the op.
    return Interval(low, high) if low <= high else _EVERYTHING


def _bound(node: onnx_ir.Node, index: int, missing: float) -> float:
    value = operand(node, index)
    if value is None or not is_constant(value):
        return missing
    return float(constant_data(value).reshape(()))
