"""Ranges × legal-op table → plan: every scale and zero point, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.calibration.calibrate import graph_hash
from edgekit.calibration.ranges import Ranges
from edgekit.errors import UsageError
from edgekit.ir.model import Model
from edgekit.passes.quantize.arithmetic import channel_scales, parameters_for, widen_for_bias
from edgekit.passes.quantize.conditions import int_attribute, operand
from edgekit.passes.quantize.constants import constant_data, is_constant
from edgekit.passes.quantize.mixed_outputs import mixed_outputs
from edgekit.passes.quantize.placed import Placed, Placement
from edgekit.passes.quantize.placement import place
from edgekit.passes.quantize.plan import (
    DTYPES,
    NodePlan,
    QuantPlan,
    TensorPlan,
)
from edgekit.passes.quantize.rules import Axis, LegalOps, WeightRule
from edgekit.passes.quantize.saturation import useful_intervals
from edgekit.passes.quantize.sharing import Sharing, no_range, share
from edgekit.vocabulary import CpuPolicy


def wanted_tensors(model: Model, *legal_ops: LegalOps) -> set[str]:
    """Names of the tensors whose ranges any of the targets needs.

    Args:
        model: a canonical model.
        legal_ops: the targets' tables.
    """
    wanted: set[str] = set()
    for legal in legal_ops:
        placement = place(model, legal)
        wanted.update((*placement.tensors, *placement.carried))
    return wanted


def decide(
    model: Model,
    ranges: Ranges,
    legal: LegalOps,
    *,
    cpu: CpuPolicy = CpuPolicy.PORTABLE,
    keep_float: Sequence[str] = (),
) -> QuantPlan:
    """Make the quantization plan for one target.

    Args:
        model: a canonical model.
        ranges: what calibration of this model found.
        legal: the target's table.
        cpu: which x86 CPUs the artifact must be exact on.
        keep_float: operator types, node names, or shell patterns of node names to leave in float.

    Raises:
        UsageError: if the ranges were made for another graph, or lack a tensor.
    """
    digest = graph_hash(model)
    if ranges.model_hash and ranges.model_hash != digest:
        raise UsageError(
            "the ranges were made for another model, or another version of this one.",
            hint="calibrate again",
        )
    placement = place(model, legal, keep_float)
    if mixed := mixed_outputs(placement, ranges):
        placement = place(model, legal, keep_float, mixed)
    useful = useful_intervals(model.graph)
    work = _Work(legal, cpu, placement, share(placement, ranges, legal, useful))
    _activations(work)
    for placed in placement.nodes:
        work.nodes[placed.key] = _node(work, placed)
    return QuantPlan(
        target=legal.target,
        cpu=cpu,
        tensors=work.tensors,
        nodes=work.nodes,
        outputs={
            v.name: v.name for v in model.graph.outputs if v.name and v.name in placement.produced
        },
        model_hash=digest,
    )


@dataclass
class _Work:
    """A plan in the making."""

    legal: LegalOps
    cpu: CpuPolicy
    placement: Placement
    sharing: Sharing
    tensors: dict[str, TensorPlan] = field(default_factory=dict)
    nodes: dict[str, NodePlan] = field(default_factory=dict)


def _activations(work: _Work) -> None:
    for name in work.placement.tensors:
        work.tensors[name] = _activation(work, name, name)
    for key, value in work.sharing.origins.items():
        entry = _activation(work, key, value.name or "")
        work.tensors[key] = replace(entry, constant=is_constant(value))


def _activation(work: _Work, key: str, tensor: str) -> TensorPlan:
    kind = work.legal.activation
    low, high = kind.limits
    fixed = work.sharing.groups.parameters(key)
    if fixed is not None:
        return TensorPlan(
            tensor, kind.dtype, (fixed[0],), (fixed[1],), low, high, why="fixed by the operator"
        )
    span = work.sharing.groups.ranges.get(work.sharing.groups.find(key))
    if span is None:
        raise no_range(tensor)
    found = parameters_for(*span, kind)
    why = f"{work.sharing.ranges.observer} range [{span[0]:.6g}, {span[1]:.6g}]"
    if key != tensor:
        why += ", shared with other operands"
    return TensorPlan(tensor, kind.dtype, found.scale, found.zero_point, low, high, why=why)


def _node(work: _Work, placed: Placed) -> NodePlan:
    inputs: dict[int, str] = {}
    if placed.rule is None:
        inputs = _float_reads(work, placed)
    for index in placed.reads:
        key = _read_key(work, placed, index)
        if key is not None:
            inputs[index] = key
    if placed.weight is not None and placed.rule is not None and placed.rule.weight is not None:
        inputs.update(_weights(work, placed, placed.rule.weight))
    return NodePlan(
        placed.node.op_type,
        placed.precision,
        placed.reason,
        placed.hint,
        dict(sorted(inputs.items())),
    )


def _float_reads(work: _Work, placed: Placed) -> dict[int, str]:
    """A float node reads the integers that an integer kernel leaves, turned back to float."""
    return {
        index: value.name
        for index, value in enumerate(placed.node.inputs)
        if value is not None and value.name and value.name in work.placement.produced
    }


def _read_key(work: _Work, placed: Placed, index: int) -> str | None:
    """The entry an operand is read through; None where it stays as it is (fused or carried)."""
    if (placed.key, index) in work.sharing.variants:
        return work.sharing.variants[placed.key, index]
    value = operand(placed.node, index)
    if value is None or not value.name:
        return None
    if not is_constant(value):
        return value.name if value.name in work.tensors else None
    return _constant(work, placed, value)


def _constant(work: _Work, placed: Placed, value: onnx_ir.Value) -> str:
    """An operand that is a constant, with its own min-max."""
    key = f"{value.name}#{placed.key}"
    data = constant_data(value)
    kind = work.legal.activation
    found = parameters_for(float(data.min(initial=0.0)), float(data.max(initial=0.0)), kind)
    low, high = kind.limits
    work.tensors[key] = TensorPlan(
        value.name or "",
        kind.dtype,
        found.scale,
        found.zero_point,
        low,
        high,
        constant=True,
        why="min-max of the constant",
    )
    return key


def _weights(work: _Work, placed: Placed, rule: WeightRule) -> dict[int, str]:
    """Entries for the weight and the bias of a compute op."""
    node = placed.node
    value = node.inputs[rule.operand]
    if value is None or not is_constant(value):
        return {}
    weight, kind = constant_data(value), rule.type
    axis = _axis(node, rule, weight.ndim)
    bits = work.legal.bits(work.cpu)
    top = min(kind.limits[1], 2 ** (bits - 1) - 1)
    low, high = max(kind.limits[0], -top - int(not kind.narrow)), top
    scale = channel_scales(weight, axis, kind) * np.float32(kind.limits[1] / top)
    bias = None if placed.bias is None else node.inputs[placed.bias]
    input_scale = _input_scale(work, placed)
    if bias is not None:
        scale = widen_for_bias(scale, constant_data(bias), input_scale)
    why = f"min-max per {'tensor' if axis is None else f'channel of axis {axis}'}, {bits} bits"
    inputs = {rule.operand: f"{value.name}#{placed.key}"}
    work.tensors[inputs[rule.operand]] = TensorPlan(
        value.name or "",
        kind.dtype,
        tuple(float(s) for s in scale),
        (0,) * len(scale),
        low,
        high,
        axis,
        constant=True,
        why=why,
    )
    if bias is not None and placed.bias is not None:
        inputs[placed.bias] = _bias(
            work, placed, bias, scale * np.float32(input_scale), axis is not None
        )
    return inputs


def _bias(
    work: _Work,
    placed: Placed,
    bias: onnx_ir.Value,
    scale: NDArray[np.float32],
    per_channel: bool,
) -> str:
    key = f"{bias.name}#{placed.key}"
    axis = constant_data(bias).ndim - 1 if per_channel else None
    work.tensors[key] = TensorPlan(
        bias.name or "",
        "int32",
        tuple(float(s) for s in scale),
        (0,) * len(scale),
        *DTYPES["int32"],
        axis,
        constant=True,
        why="input scale × weight scale",
    )
    return key


def _input_scale(work: _Work, placed: Placed) -> float:
    value = operand(placed.node, placed.reads[0])
    name = (value.name if value is not None else None) or ""
    entry = work.tensors.get(work.sharing.variants.get((placed.key, placed.reads[0]), name))
    return entry.scale[0] if entry is not None else 1.0


def _axis(node: onnx_ir.Node, rule: WeightRule, rank: int) -> int | None:
    """The channel axis of a weight; None where one scale serves."""
    axis: Axis | None = rule.axis
    if axis is None or (rule.rank is not None and rank != rule.rank):
        return None
    if rule.ungrouped and int_attribute(node, "group", 1) != 1:
        return None
    chosen = axis.default
    if axis.attribute is not None and axis.otherwise is not None:
        chosen = axis.otherwise if int_attribute(node, axis.attribute, 0) else axis.default
    return chosen % rank
