"""What a node's neighbours decide: islands in float, residual sums, passive and fused nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir

from edgekit.passes.quantize.conditions import is_float, operand
from edgekit.passes.quantize.constants import constant_data, is_constant
from edgekit.passes.quantize.placed import Placed, State
from edgekit.passes.quantize.plan import NodePrecision
from edgekit.passes.quantize.rules import Activation, OpRule

# Closed targets: islands are not worth their Q/DQ ------------------------------------------------


def drop_isolated(state: State) -> None:
    """Leave in float what no chain of INT8 nodes links to one that gains from integers.

    A lone passive node gains nothing; an elementwise one between float nodes would be quantized
    and dequantized around a single step.
    """
    for cluster in _clusters(state):
        passive = all(p.rule is not None and p.rule.passive for p in cluster)
        compute = any(p.rule is not None and p.rule.weight is not None for p in cluster)
        if not passive and (compute or not _beside_float(state, cluster)):
            continue
        why = "it only moves values" if passive else "it does little work"
        for placed in cluster:
            state.placed[placed.node] = Placed(
                placed.key,
                placed.node,
                NodePrecision.FLOAT,
                f"{why}, and its neighbours stay in float",
            )


def _clusters(state: State) -> list[list[Placed]]:
    """INT8 nodes in sets that tensors connect."""
    clusters: list[list[Placed]] = []
    reached: set[onnx_ir.Node] = set()
    for start in state.active():
        if start.node in reached:
            continue
        reached.add(start.node)
        cluster = [start]
        for placed in cluster:  # grows while it is walked
            for node in _neighbours(placed):
                near = state.placed.get(node)
                if near is not None and near.int8 and node not in reached:
                    reached.add(node)
                    cluster.append(near)
        clusters.append(cluster)
    return clusters


def _beside_float(state: State, cluster: Sequence[Placed]) -> bool:
    """Whether a node that stays in float makes or reads a tensor of these."""
    near = (state.placed.get(node) for placed in cluster for node in _neighbours(placed))
    return any(p is not None and p.precision is NodePrecision.FLOAT for p in near)


def _neighbours(placed: Placed) -> list[onnx_ir.Node]:
    """Nodes that make or read the tensors a node touches as integers."""
    reads = [placed.node.inputs[i] for i in placed.reads]
    near: list[onnx_ir.Node] = []
    for value in (*(v for v in reads if v is not None), *placed.node.outputs):
        if is_float(value):
            producer = value.producer()
            near += [] if producer is None else [producer]
            near += [use.node for use in value.uses()]
    return near


# Open targets: an operand is quantized where its reader asks for it ------------------------------


def add_residuals(state: State) -> None:
    """Let sums after a fusable op read their other operand as integers."""
    if not state.legal.residual:
        return
    for node, placed in list(state.placed.items()):
        if node.op_type != "Add" or placed.reason.startswith("kept"):
            continue
        fusable = [i for i in (0, 1) if _fusable(state, node.inputs[i])]
        if fusable and not any(is_constant(v) for v in node.inputs):
            rule = OpRule(("Add",))
            why = f"fused into the {' or '.join(sorted(state.legal.residual))} before it"
            state.placed[node] = replace(
                placed,
                precision=NodePrecision.INT8,
                reason=why,
                rule=rule,
                reads=(1 - fusable[-1],),
            )


def _fusable(state: State, value: onnx_ir.Value | None) -> bool:
    """Whether a value is the result of an INT8 op that only this sum reads."""
    if value is None or value.is_graph_output() or len(value.uses()) != 1:
        return False
    maker = state.producer(value)
    return maker is not None and maker.int8 and maker.node.op_type in state.legal.residual


def carry(state: State) -> frozenset[str]:
    """Keep passive nodes in integers where all that read them want integers."""
    carried: set[str] = set()
    for node, placed in reversed(list(state.placed.items())):
        if placed.rule is None or not placed.rule.passive:
            continue
        if all(_wanted(state, value) for value in node.outputs if value.uses() or is_float(value)):
            carried.update(placed.results)
        else:
            state.placed[node] = Placed(
                placed.key,
                node,
                NodePrecision.FLOAT,
                "it only moves values, and not all that read it take integers",
            )
    return frozenset(carried)


def _wanted(state: State, value: onnx_ir.Value) -> bool:
    uses = value.uses()
    return (
        bool(uses)
        and not value.is_graph_output()
        and all(
            (reader := state.placed.get(use.node)) is not None and use.idx in reader.reads
            for use in uses
        )
    )


# Activations inside a kernel ---------------------------------------------------------------------


def fuse(state: State) -> None:
    """Find activations that a kernel applies by itself; the tensor before them stays as it is."""
    for placed in list(state.placed.values()):
        anchors = [f for f in state.legal.fusions if placed.node.op_type in f.anchors]
        if not (placed.int8 and anchors and len(placed.node.outputs) == 1):
            continue
        value = placed.node.outputs[0]
        uses = value.uses()
        if len(uses) != 1 or value.is_graph_output():
            continue
        follower = state.placed.get(next(iter(uses)).node)
        if follower is None or not any(
            _matches(follower.node, a) for f in anchors for a in f.activations
        ):
            continue
        if state.legal.closed and not follower.int8:
            continue
        if follower.precision is NodePrecision.FLOAT and follower.reason.startswith("kept"):
            continue
        state.inner.add(value.name or "")
        why = f"fused into {placed.node.op_type} '{placed.key}'"
        state.placed[follower.node] = replace(
            follower, precision=NodePrecision.INT8, reason=why, hint=""
        )


def _matches(node: onnx_ir.Node, activation: Activation) -> bool:
    if node.op_type != activation.op:
        return False
    if not activation.bounds:
        return True
    low, high = _bound(node, 1, float("-inf")), _bound(node, 2, float("inf"))
    return (low, high) in activation.bounds


def _bound(node: onnx_ir.Node, index: int, missing: float) -> float:
    value = operand(node, index)
    if value is None:
        return missing
    return float(constant_data(value).reshape(())) if is_constant(value) else float("nan")
