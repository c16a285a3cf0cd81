"""Plan → graph with QuantizeLinear/DequantizeLinear (Q/DQ) pairs. Nothing is decided here.

A computed tensor `x` with an entry becomes

    x ─► QuantizeLinear ─► DequantizeLinear ─► the nodes that the plan lets read it

with one pair for all its readers. A second entry for the same tensor (`x#node`) is a
requantization: its Q reads the DQ of the first. A constant becomes an integer initializer and a DQ.
A graph output with an entry leaves through its DQ and keeps its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir

from edgekit.errors import InputError
from edgekit.ir.model import Model
from edgekit.ir.verify import verify
from edgekit.passes.quantize.arithmetic import quantize
from edgekit.passes.quantize.constants import constant_data, is_constant
from edgekit.passes.quantize.placement import node_keys
from edgekit.passes.quantize.plan import QuantPlan, TensorPlan


def apply(model: Model, plan: QuantPlan) -> Model:
    """Put a plan into effect.

    Args:
        model: the canonical model that the plan was made for. It is not changed.
        plan: the decisions.

    Returns:
        A model with Q/DQ pairs; its inputs and outputs are still float.

    Raises:
        InputError: if the plan names nodes or tensors that the model does not have, or an entry
            does not fit its tensor.
    """
    result = model.clone()
    graph = result.graph
    work = _Work(graph, plan, _values(graph))
    keys = node_keys(graph)
    _check_nodes(plan, set(keys.values()))
    for node, key in keys.items():
        entry = plan.nodes.get(key)
        for index, name in (entry.inputs if entry is not None else {}).items():
            if index >= len(node.inputs) or node.inputs[index] is None:
                raise InputError(f"the plan quantizes operand {index} of '{key}', which has none.")
            work.reads.append((node, index, name))
    for node, index, name in work.reads:
        node.replace_input_with(index, work.quantized(name))
    for name, entry_key in plan.outputs.items():
        _reroute_output(work, name, entry_key)
    _drop_unused(graph)
    graph.sort()
    verify(result.ir)
    return result


@dataclass
class _Work:
    graph: onnx_ir.Graph
    plan: QuantPlan
    values: dict[str, onnx_ir.Value]
    reads: list[tuple[onnx_ir.Node, int, str]] = field(default_factory=list)
    made: dict[str, onnx_ir.Value] = field(default_factory=dict)

    def quantized(self, key: str) -> onnx_ir.Value:
        """The DQ output for an entry, made on first use."""
        if key not in self.made:
            entry = self.plan.tensors[key]
            value = self.values.get(entry.tensor)
            if value is None:
                raise InputError(f"the plan quantizes '{entry.tensor}', which the model lacks.")
            _check_entry(key, entry, value)
            self.made[key] = (
                _constant(self, key, entry, value)
                if entry.constant or is_constant(value)
                else _computed(self, key, entry, value)
            )
        return self.made[key]


def _computed(work: _Work, key: str, entry: TensorPlan, value: onnx_ir.Value) -> onnx_ir.Value:
    if key != entry.tensor and entry.tensor in work.plan.tensors:
        value = work.quantized(entry.tensor)
    scale, zero_point = _parameters(work, key, entry)
    q = _node(work, "QuantizeLinear", [value, scale, zero_point], f"{key}/q", entry.axis)
    q.outputs[0].dtype = onnx_ir.DataType[entry.dtype.upper()]
    dq = _node(work, "DequantizeLinear", [q.outputs[0], scale, zero_point], f"{key}/dq", entry.axis)
    for made in (q, dq):
        made.outputs[0].shape = value.shape
    dq.outputs[0].dtype = onnx_ir.DataType.FLOAT
    return dq.outputs[0]


def _constant(work: _Work, key: str, entry: TensorPlan, value: onnx_ir.Value) -> onnx_ir.Value:
    if not is_constant(value):
        raise InputError(f"the plan stores '{entry.tensor}' as integers, but it is computed.")
    integers = quantize(
        constant_data(value),
        np.array(entry.scale),
        np.array(entry.zero_point),
        entry.axis,
        (entry.low, entry.high),
        entry.dtype,
    )
    stored = _initializer(work, f"{key}/int", integers)
    scale, zero_point = _parameters(work, key, entry)
    dq = _node(work, "DequantizeLinear", [stored, scale, zero_point], f"{key}/dq", entry.axis)
    dq.outputs[0].dtype, dq.outputs[0].shape = onnx_ir.DataType.FLOAT, value.shape
    return dq.outputs[0]


def _parameters(work: _Work, key: str, entry: TensorPlan) -> tuple[onnx_ir.Value, onnx_ir.Value]:
    scale = np.array(entry.scale, np.float32)
    zero_point = np.array(entry.zero_point, entry.dtype)
    if entry.axis is None:
        scale, zero_point = scale.reshape(()), zero_point.reshape(())
    return (
        _initializer(work, f"{key}/scale", scale),
        _initializer(work, f"{key}/zero_point", zero_point),
    )


def _initializer(work: _Work, name: str, data: np.typing.NDArray[np.generic]) -> onnx_ir.Value:
    unique = _unique(work, name)
    value = onnx_ir.Value(
        name=unique,
        const_value=onnx_ir.tensor(data, name=unique),
        shape=onnx_ir.Shape(data.shape),
        type=onnx_ir.TensorType(onnx_ir.DataType.from_numpy(data.dtype)),
    )
    work.graph.register_initializer(value)
    work.values[unique] = value
    return value


def _node(
    work: _Work, op: str, inputs: list[onnx_ir.Value], name: str, axis: int | None
) -> onnx_ir.Node:
    unique = _unique(work, name)
    attributes = {} if axis is None else {"axis": axis}
    node = onnx_ir.node(op, inputs, attributes, name=unique)
    node.outputs[0].name = unique
    work.values[unique] = node.outputs[0]
    work.graph.append(node)
    return node


def _reroute_output(work: _Work, name: str, key: str) -> None:
    """Let a graph output leave through its DQ, under its own name."""
    for index, value in enumerate(work.graph.outputs):
        if value.name == name:
            leaving = work.quantized(key)
            value.name = _unique(work, f"{name}/float")
            leaving.name = name
            work.graph.outputs[index] = leaving
            return
    raise InputError(f"the plan quantizes the output '{name}', which the model lacks.")


def _drop_unused(graph: onnx_ir.Graph) -> None:
    """Remove the constants that integers took the place of, dequantized ones included."""
    for node in list(graph):
        result = node.outputs[0]
        if is_constant(result) and not result.uses() and not result.is_graph_output():
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
            del graph.initializers[name]


def _unique(work: _Work, name: str) -> str:
    candidate, number = name, 1
    while candidate in work.values:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def _values(graph: onnx_ir.Graph) -> dict[str, onnx_ir.Value]:
    return dict(onnx_ir.convenience.create_value_mapping(graph))


def _check_nodes(plan: QuantPlan, known: set[str]) -> None:
    if unknown := sorted(set(plan.nodes) - known):
        raise InputError(
            f"the plan has decisions for nodes that the model lacks: {', '.join(unknown[:5])}.",
            hint="the plan was made for another model",
        )


def _check_entry(key: str, entry: TensorPlan, value: onnx_ir.Value) -> None:
    """Per-channel entries must have as many scales as the tensor has channels."""
    if entry.axis is None or value.shape is None:
        return
    rank = len(value.shape)
    size = value.shape[entry.axis] if entry.axis < rank else None
    if size is None or (isinstance(size, int) and size != len(entry.scale)):
        raise InputError(
            f"tensors['{key}'] has {len(entry.scale)} scales on axis {entry.axis}; "
            f"'{entry.tensor}' has shape {value.shape}."
        )
