"""The choice for each node of a graph, as the steps of placement make and change it."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir

from edgekit.ir.model import Model
from edgekit.passes.quantize.conditions import is_float
from edgekit.passes.quantize.constants import is_constant
from edgekit.passes.quantize.plan import NodePrecision
from edgekit.passes.quantize.rules import LegalOps, OpRule


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
class State:
    """What the steps of placement share.

    Attributes:
        model: the graph.
        legal: the target's table.
        placed: the choice for each node so far, in order.
        inner: results that stay inside a kernel, before an activation that it applies itself.
    """

    model: Model
    legal: LegalOps
    placed: dict[onnx_ir.Node, Placed] = field(default_factory=dict)
    inner: set[str] = field(default_factory=set)

    def producer(self, value: onnx_ir.Value) -> Placed | None:
        """The choice for the node that makes a value; None for inputs and constants."""
        node = value.producer()
        return None if node is None else self.placed.get(node)

    def active(self) -> list[Placed]:
        """The nodes that compute in integers by their rules."""
        return [p for p in self.placed.values() if p.int8]
