"""Where a target's table puts integers in a graph: which nodes, which tensors. No ranges yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType

import onnx_ir

from edgekit.ir.model import Model
from edgekit.passes.quantize.conditions import finite_constants, is_float, operand
from edgekit.passes.quantize.constants import is_constant
from edgekit.passes.quantize.dynamic_range import wide_nodes
from edgekit.passes.quantize.neighbours import add_residuals, carry, drop_isolated, fuse
from edgekit.passes.quantize.placed import Placed, Placement, State
from edgekit.passes.quantize.plan import NodePrecision
from edgekit.passes.quantize.rules import BiasKind, LegalOps, OpRule

_WIDE = "a logarithm, root or quotient of its result needs more than 8 bits"
_STANDARD = ("", "ai.onnx")
_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})


def place(
    model: Model,
    legal: LegalOps,
    keep_float: Sequence[str] = (),
    objections: Mapping[str, str] = MappingProxyType({}),
) -> Placement:
    """Choose the nodes and tensors that a target runs in integers.

    Args:
        model: a canonical model.
        legal: the target's table.
        keep_float: operator types, node names, or shell patterns of node names to leave alone.
        objections: why more nodes stay in float, by node key.
    """
    state = State(model, legal)
    keys = node_keys(model.graph)
    reasons = {
        **{keys[node]: _WIDE for node in wide_nodes(model.graph)},
        **objections,
    }
    for node in model.graph:
        state.placed[node] = _candidate(node, keys[node], legal, keep_float, reasons)
    if legal.closed:
        drop_isolated(state)
        fuse(state)
        return _closed(state)
    add_residuals(state)
    carried = carry(state)
    fuse(state)
    return _open(state, carried)


def node_keys(graph: onnx_ir.Graph) -> Mapping[onnx_ir.Node, str]:
    """A unique name for every node."""
    seen: dict[str, int] = {}
    for node in graph:
        seen[node.name or ""] = seen.get(node.name or "", 0) + 1
    return {
        node: node.name if node.name and seen[node.name] == 1 else f"->{node.outputs[0].name}"
        for node in graph
    }


def _candidate(
    node: onnx_ir.Node,
    key: str,
    legal: LegalOps,
    keep_float: Sequence[str],
    objections: Mapping[str, str],
) -> Placed:
    if not any(is_float(v) for v in (*node.inputs, *node.outputs)):
        return Placed(key, node, NodePrecision.INTEGER)
    if node.op_type in _QDQ or _touches_qdq(node):
        return Placed(key, node, NodePrecision.INT8, "quantized in the source; left as it is")
    rule = legal.rule(node.op_type) if node.domain in _STANDARD else None
    reason, hint = _objection(node, key, rule, legal, keep_float)
    reason = reason or objections.get(key, "")
    if rule is None or reason:
        return Placed(key, node, NodePrecision.FLOAT, reason, hint)
    weight, bias = _constant_operands(node, rule)
    reads = rule.inputs if rule.inputs is not None else tuple(range(len(node.inputs)))
    chosen = tuple(i for i in reads if is_float(operand(node, i)) and i not in (weight, bias))
    return Placed(key, node, NodePrecision.INT8, "", "", rule, chosen, weight, bias)


def _constant_operands(node: onnx_ir.Node, rule: OpRule) -> tuple[int | None, int | None]:
    weight, bias = rule.weight, rule.bias
    has_weight = weight is not None and is_constant(operand(node, weight.operand))
    has_bias = bias is not None and is_constant(operand(node, bias.operand))
    integer = bias is not None and bias.kind is BiasKind.INT32
    return (
        weight.operand if weight is not None and has_weight else None,
        bias.operand if bias is not None and has_bias and integer else None,
    )


def _objection(
    node: onnx_ir.Node,
    key: str,
    rule: OpRule | None,
    legal: LegalOps,
    keep_float: Sequence[str],
) -> tuple[str, str]:
    """Why a node cannot be quantized, and what to do; empty when it can."""
    if any(node.op_type == p or fnmatchcase(key, p) for p in keep_float):
        return "kept in float on request", ""
    if rule is None:
        return legal.why_float(node.op_type), ""
    for condition in rule.conditions:
        if not condition.test(node):
            return condition.reason, condition.hint
    reads = rule.inputs if rule.inputs is not None else range(len(node.inputs))
    if not any(is_float(v := operand(node, i)) and not is_constant(v) for i in reads):
        return "it computes no float tensor from another", ""
    if not finite_constants(node):
        return "a constant it reads is infinite or as good as", "use a finite, smaller constant"
    if any(value.name and _in_subgraph(value, node) for value in _floats(node)):
        return "a tensor it touches is read inside a subgraph", ""
    if any(is_float(v) is False and v.dtype is None for v in node.outputs):
        return "the type of its result is unknown", ""
    return "", ""


def _floats(node: onnx_ir.Node) -> list[onnx_ir.Value]:
    return [v for v in (*node.inputs, *node.outputs) if v is not None and is_float(v)]


def _in_subgraph(value: onnx_ir.Value, node: onnx_ir.Node) -> bool:
    return any(use.node.graph is not node.graph for use in value.uses())


def _touches_qdq(node: onnx_ir.Node) -> bool:
    """Whether the source quantized this node's operands or results already."""
    fed = any(
        v is not None
        and (maker := v.producer()) is not None
        and maker.op_type == "DequantizeLinear"
        and not is_constant(maker.inputs[0])
        for v in node.inputs
    )
    read = any(use.node.op_type == "QuantizeLinear" for v in node.outputs for use in v.uses())
    return fed or read


# What comes of the choices: closed targets, whose kernels have integer results, and open ones ----


def _closed(state: State) -> Placement:
    produced: dict[str, None] = {}
    touched: set[str] = set()
    for placed in state.active():
        produced.update(dict.fromkeys(n for n in placed.results if n not in state.inner))
        touched.update(n for n in placed.activations if n not in state.inner)
    tensors = [n for n in _order(state.model) if n in touched or n in produced]
    return Placement(tuple(state.placed.values()), tuple(tensors), produced=frozenset(produced))


def _open(state: State, carried: frozenset[str]) -> Placement:
    touched = {name for placed in state.active() for name in placed.activations}
    tensors = [n for n in _order(state.model) if n in touched and n not in carried]
    return Placement(tuple(state.placed.values()), tuple(tensors), carried)


def _order(model: Model) -> list[str]:
    values = [*model.graph.inputs, *(v for node in model.graph for v in node.outputs)]
    return [v.name for v in values if v.name and is_float(v) and not is_constant(v)]
