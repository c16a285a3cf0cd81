"""The choice of axis orders in a graph, without its transposes, and what a choice costs."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir

from edgekit.passes.base import DEFAULT_DOMAINS
from edgekit.passes.canonicalize._axis_edits import dims_of
from edgekit.passes.canonicalize._axis_rules import Label, Ports, Rule
from edgekit.passes.canonicalize._axis_table import LAST_AXIS_RULES, RULES
from edgekit.passes.canonicalize._reshape_rule import ReshapeRule
from edgekit.passes.canonicalize.permutations import Dims, Perm, compose, identity, order
from edgekit.passes.canonicalize.rewrite import constant, input_at
from edgekit.passes.canonicalize.rewrite import rank as rank_of

_RESHAPE = ReshapeRule()
_ALL_RULES: dict[str, Rule] = {**RULES, "Reshape": _RESHAPE, "Flatten": _RESHAPE}
_ELEMENT = 1024

NHWC_DOMAIN = "edgekit.nhwc"
"""Domain of nodes that a converter has fixed to channels-last operands and results."""


@dataclass(frozen=True)
class Reader:
    """One use of a value, seen through the transposes in between.

    Attributes:
        node: who reads; None for an output of the graph.
        index: which operand of it, or which output of the graph.
        through: what the transposes in between do.
    """

    node: onnx_ir.Node | None
    index: int
    through: Perm


@dataclass(eq=False)
class Site:
    """A value that is no transpose's result.

    Attributes:
        value: the value.
        readers: who uses it, directly or transposed.
        dims: its sizes before any rewriting.
    """

    value: onnx_ir.Value
    dims: Dims
    readers: list[Reader] = field(default_factory=list)


class LayoutProblem:
    """A graph whose transposes are to be placed anew.

    Attributes:
        graph: the graph; it is only read here.
        labels: the choice for every node that has one.
        sites: the values between nodes.
        transposes: nodes that the solution replaces.
    """

    def __init__(self, graph: onnx_ir.Graph) -> None:
        self.graph = graph
        self.labels: dict[onnx_ir.Node, Label] = {}
        self.neutral: dict[onnx_ir.Node, Label] = {}
        self.sites: dict[onnx_ir.Value, Site] = {}
        self.transposes: list[onnx_ir.Node] = []
        self._roots: dict[onnx_ir.Value, tuple[onnx_ir.Value, Perm]] = {}
        self._ports: dict[tuple[onnx_ir.Node, Label], Ports | None] = {}
        for node in graph:
            self._enter(node)
        for index, value in enumerate(graph.outputs):
            self._read(value, None, index)

    def _enter(self, node: onnx_ir.Node) -> None:
        perm = transpose_perm(node)
        if perm is not None and node.inputs[0] is not None:
            self.transposes.append(node)
            root, through = self.root(node.inputs[0])
            self._roots[node.outputs[0]] = (root, compose(through, perm))
            return
        rule = self.rule(node)
        label = None if rule is None else rule.neutral(node)
        if label is not None:
            self.labels[node] = self.neutral[node] = label
        for index, value in enumerate(node.inputs):
            if value is not None and rank_of(value) is not None:
                self._read(value, node, index)
        for attribute in node.attributes.values():
            if attribute.type in (onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS):
                self._read_outer(attribute)

    def _read_outer(self, attribute: onnx_ir.Attr) -> None:
        """Values that a subgraph reads stay as they are."""
        graphs = (
            attribute.as_graphs()
            if attribute.type == onnx_ir.AttributeType.GRAPHS
            else [attribute.as_graph()]
        )
        for graph in graphs:
            for inner in graph.all_nodes():
                for index, value in enumerate(inner.inputs):
                    if value is not None and value.shape is not None and value.graph is self.graph:
                        self._read(value, inner, index)

    def _read(self, value: onnx_ir.Value, node: onnx_ir.Node | None, index: int) -> None:
        if value.shape is None:
            return
        root, through = self.root(value)
        site = self.sites.get(root)
        if site is None:
            site = self.sites[root] = Site(root, dims_of(root))
        site.readers.append(Reader(node, index, through))

    def rule(self, node: onnx_ir.Node) -> Rule | None:
        """How a node's axes can be permuted; None when they cannot."""
        if node.domain == NHWC_DOMAIN:
            return LAST_AXIS_RULES.get(node.op_type)
        return _ALL_RULES.get(node.op_type) if node.domain in DEFAULT_DOMAINS else None

    def root(self, value: onnx_ir.Value) -> tuple[onnx_ir.Value, Perm]:
        """The value that transposes made this one from, and what they did together."""
        return self._roots.get(value) or (value, identity(rank_of(value) or 0))

    def ports(self, node: onnx_ir.Node, label: Label) -> Ports | None:
        """What a label means at the node's operands and results."""
        key = (node, label)
        if key not in self._ports:
            rule = self.rule(node)
            self._ports[key] = None if rule is None else rule.ports(node, label)
        return self._ports[key]

    def given(self, site: Site, label: Label | None = None) -> Perm:
        """The order in which a value is produced (under another label of its producer)."""
        producer = site.value.producer()
        if producer is not None and producer in self.labels:
            ports = self.ports(producer, self.labels[producer] if label is None else label)
            if ports is not None:
                return ports.outputs[site.value.index() or 0]
        return identity(len(site.dims))

    def wanted(self, reader: Reader, label: Label | None = None) -> Perm:
        """The order in which a reader wants a value."""
        if reader.node is None or reader.node not in self.labels:
            return reader.through
        ports = self.ports(reader.node, self.labels[reader.node] if label is None else label)
        local = None if ports is None else ports.inputs[reader.index]
        return reader.through if local is None else compose(reader.through, local)

    def site_cost(self, site: Site) -> int:
        """What the transposes of one value cost under the present labels."""
        if constant(site.value) is not None:
            return 0
        given = self.given(site)
        return moves_cost(site, given, {self.wanted(reader) for reader in site.readers} - {given})

    def cost(self) -> int:
        """What all transposes cost under the present labels."""
        return sum(self.site_cost(site) for site in self.sites.values())

    def present_cost(self) -> int:
        """What the transposes cost that are in the graph."""
        total = 0
        for node in self.transposes:
            value, perm = node.inputs[0], transpose_perm(node)
            if value is not None and perm is not None:
                site = Site(value, dims_of(value))
                total += moves_cost(site, identity(len(perm)), {perm})
        return total


def moves_cost(site: Site, given: Perm, wanted: set[Perm]) -> int:
    """Price of making a value available in other orders.

    An element moved costs 1024 plus its bytes, a transpose or reshape as such 1: so elements come
    first, then bytes, then the number of nodes.
    """
    start = order(given, site.dims)
    real = sum(order(perm, site.dims) != start for perm in wanted)
    return real * weight(site) + len(wanted)


def weight(site: Site) -> int:
    """Price of moving all elements of a value once."""
    count = 1
    for size in site.dims:
        count *= size if isinstance(size, int) else 1
    width = site.value.dtype.itemsize if site.value.dtype is not None else 4
    return int(count * (_ELEMENT + width))


def transpose_perm(node: onnx_ir.Node) -> Perm | None:
    """The permutation of a Transpose whose operand has a known rank; None for other nodes.

    A Reshape that moves axes of size 1 past others is a Transpose, too.
    """
    if node.domain not in DEFAULT_DOMAINS:
        return None
    size = rank_of(input_at(node, 0))
    if size is None:
        return None
    if node.op_type == "Reshape":
        return _unit_moves(node)
    if node.op_type != "Transpose":
        return None
    attribute = node.attributes.get("perm")
    if attribute is None:
        return tuple(reversed(range(size)))
    return tuple(axis % size for axis in attribute.as_ints())


def _unit_moves(node: onnx_ir.Node) -> Perm | None:
    before, after = dims_of(node.inputs[0]), dims_of(node.outputs[0])
    if len(before) != len(after) or before == after or constant(input_at(node, 1)) is None:
        return None
    real = [axis for axis, size in enumerate(before) if size != 1]
    if [before[axis] for axis in real] != [size for size in after if size != 1]:
        return None
    if sum(not isinstance(size, int) for size in after) > 1:
        return None
    axes = iter(real)
    units = iter(axis for axis, size in enumerate(before) if size == 1)
    return tuple(next(units) if size == 1 else next(axes) for size in after)
