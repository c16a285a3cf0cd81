"""Outputs that join values of different magnitudes, such as boxes in pixels and scores below one.

One scale for all of them leaves the small ones a handful of integers. Where a Concat makes nothing
but a model's outputs, joining in float costs no more than copying it and keeps every member's own
scale.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir

from edgekit.calibration.ranges import Ranges
from edgekit.passes.quantize.conditions import is_float
from edgekit.passes.quantize.constants import is_constant
from edgekit.passes.quantize.placed import Placed, Placement

_TWO_BITS = 4.0
"""How much wider the joined range may be than a member's, before the Concat stays float."""

_REASON = "it joins ranges too different for one scale, and only outputs follow"


def mixed_outputs(placement: Placement, ranges: Ranges) -> dict[str, str]:
    """Why Concats should stay in float, by node key.

    Args:
        placement: where integers would be.
        ranges: what calibration found.
    """
    passive = {p.node: p for p in placement.nodes if p.rule is not None and p.rule.passive}
    found = [p for p in passive.values() if p.node.op_type == "Concat" and _differ(p.node, ranges)]
    return {p.key: _REASON for p in found if _only_leaves(p.node.outputs[0], passive)}


def _differ(node: onnx_ir.Node, ranges: Ranges) -> bool:
    widths = []
    for value in node.inputs:
        entry = ranges.tensors.get((value.name if value is not None else None) or "")
        if entry is not None and value is not None and not is_constant(value):
            widths.append(max(entry.high, 0.0) - min(entry.low, 0.0))
    narrow = [width for width in widths if width > 0]
    return len(narrow) > 1 and max(narrow) >= _TWO_BITS * min(narrow)


def _only_leaves(value: onnx_ir.Value, passive: Mapping[onnx_ir.Node, Placed]) -> bool:
    """Whether nothing computes with a value before it leaves the graph."""
    readers = [use.node for use in value.uses()]
    if not readers:
        return value.is_graph_output()
    return all(
        node in passive and all(_only_leaves(v, passive) for v in node.outputs if is_float(v))
        for node in readers
    )
