"""Where a target's table puts integers in a graph: which nodes, which tensors. No ranges yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType

import onnx_ir

from edgekit.ir.model import Model
from edgekit.passes.quantize.conditions import finite_constants, is_float, operand
from edgekit.passes.quantize.constants import constant_data, is_constant
from edgekit.passes.quantize.dynamic_range import wide_nodes
from edgekit.passes.quantize.plan import NodePrecision
from edgekit.passes.quantize.rules import Activation, BiasKind, LegalOps, OpRule

_WIDE = "a logarithm, root or quotient of its result needs more than 8 bits"
_STANDARD = ("", "ai.onnx")
_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True)
class Placed:
    """The choice for one node.

    Attributes:
        key: the node's name, or that of its first result where names are missing or repeated.
        node: the node.
        precision: what it computes in.
        reason: why it stays float, or what is special about it.
        hint: what the user can do about it.
        rule: its rule in the target's table, for an INT8 node.
        reads: operands that are read as integers, constants among them, the weight and bias not.
        weight: operand that is a constant weight.
        bias: operand that is a constant bias to be stored as an integer.
    """

    key: str
    node: onnx_ir.Node
    precision: NodePrecision
    reason: str = ""
    hint: str = ""
    rule: OpRule | None = None
    reads: tuple[int, ...] = ()
    weight: int | None = None
    bias: int | None = None

    @property
    def int8(self) -> bool:
        """Whether it computes in integers by its rule."""
        return self.rule is not None

    @property
    def activations(self) -> tuple[str, ...]:
        """Names of the computed tensors it reads as integers."""
        values = (self.node.inputs[index] for index in self.reads)
        return tuple(v.name or "" for v in values if v is not None and not is_constant(v))

    @property
    def results(self) -> tuple[str, ...]:
        """Names of its float results that something reads."""
        return tuple(
            v.name or ""
            for v in self.node.outputs
            if is_float(v) and (v.uses() or v.is_graph_output())
        )


@dataclass(frozen=True)
class Placement:
    """The choices for a graph.

    Attributes:
        nodes: one per node, in order.
        tensors: computed tensors that are quantized, in order of their making.
        carried: results of passive nodes that stay integers without Q/DQ of their own.
        produced: those of `tensors` whose every reader gets the quantized form.
    """

    nodes: tuple[Placed, ...]
    tensors: tuple[str, ...]
    carried: frozenset[str] = frozenset()
    produced: frozenset[str] = frozenset()


@dataclass
class _State:
    """What the steps of placement share."""

    model: Model
    legal: LegalOps
    placed: dict[onnx_ir.Node, Placed] = field(default_factory=dict)
    inner: set[str] = field(default_factory=set)

    def producer(self, value: onnx_ir.Value) -> Placed | None:
        node = value.producer()
        return None if node is None else self.placed.get(node)

    def active(self) -> list[Placed]:
        return [p for p in self.placed.values() if p.int8]


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
    state = _State(model, legal)
    keys = node_keys(model.graph)
    reasons = {
        **{keys[node]: _WIDE for node in wide_nodes(model.graph)},
        **objections,
    }
    for node in model.graph:
        state.placed[node] = _candidate(node, keys[node], legal, keep_float, reasons)
    if legal.closed:
        _drop_isolated(state)
        _fuse(state)
        return _closed(state)
    _add_residuals(state)
    carried = _carry(state)
    _fuse(state)
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


# Closed targets: integer kernels have integer results --------------------------------------------


def _drop_isolated(state: _State) -> None:
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


def _clusters(state: _State) -> list[list[Placed]]:
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


def _beside_float(state: _State, cluster: Sequence[Placed]) -> bool:
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


def _closed(state: _State) -> Placement:
    produced: dict[str, None] = {}
    touched: set[str] = set()
    for placed in state.active():
        produced.update(dict.fromkeys(n for n in placed.results if n not in state.inner))
        touched.update(n for n in placed.activations if n not in state.inner)
    tensors = [n for n in _order(state.model) if n in touched or n in produced]
    return Placement(tuple(state.placed.values()), tuple(tensors), produced=frozenset(produced))


# Open targets: only the operands that ask for it are quantized -----------------------------------


def _add_residuals(state: _State) -> None:
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


def _fusable(state: _State, value: onnx_ir.Value | None) -> bool:
    """Whether a value is the result of an INT8 op that only this sum reads."""
    if value is None or value.is_graph_output() or len(value.uses()) != 1:
        return False
    maker = state.producer(value)
    return maker is not None and maker.int8 and maker.node.op_type in state.legal.residual


def _carry(state: _State) -> frozenset[str]:
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


def _wanted(state: _State, value: onnx_ir.Value) -> bool:
    uses = value.uses()
    return (
        bool(uses)
        and not value.is_graph_output()
        and all(
            (reader := state.placed.get(use.node)) is not None and use.idx in reader.reads
            for use in uses
        )
    )


def _open(state: _State, carried: frozenset[str]) -> Placement:
    touched = {name for placed in state.active() for name in placed.activations}
    tensors = [n for n in _order(state.model) if n in touched and n not in carried]
    return Placement(tuple(state.placed.values()), tuple(tensors), carried)


# Both --------------------------------------------------------------------------------------------


def _fuse(state: _State) -> None:
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


def _order(model: Model) -> list[str]:
    values = [*model.graph.inputs, *(v for node in model.graph for v in node.outputs)]
    return [v.name for v in values if v.name and is_float(v) and not is_constant(v)]
