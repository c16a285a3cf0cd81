"""Search for axis orders that make transposes cheap: expansion moves solved by minimum cuts."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator

import onnx_ir

from edgekit.passes.canonicalize._axis_rules import Label
from edgekit.passes.canonicalize._layout_problem import LayoutProblem, Reader, Site, weight
from edgekit.passes.canonicalize._mincut import MinCut
from edgekit.passes.canonicalize.permutations import VARIANTS, Perm, compose, inverse, order
from edgekit.passes.canonicalize.rewrite import constant

Proposal = dict[onnx_ir.Node, Label]
_NEVER = 1 << 60


def improve(problem: LayoutProblem) -> None:
    """Change labels until no expansion move lowers the cost."""
    tried: set[frozenset[tuple[onnx_ir.Node, Label]]] = set()
    waiting = deque(problem.sites.values())
    while waiting:
        site = waiting.popleft()
        if not problem.site_cost(site):
            continue
        for node, label, variant in list(_seeds(problem, site)):
            proposal = _spread(problem, node, label, variant)
            key = frozenset(proposal.items())
            if key in tried:
                continue
            tried.add(key)
            if _adopt(problem, proposal):
                tried.clear()
                touched = {id(s): s for n in proposal for s in _sites_of(problem, n)}
                waiting.extend(touched.values())
                waiting.append(site)
                break


def _seeds(problem: LayoutProblem, site: Site) -> Iterator[tuple[onnx_ir.Node, Label, int]]:
    """Changes of one node that would make one transpose of a value needless."""
    given = problem.given(site)
    producer = site.value.producer()
    for variant in range(VARIANTS):
        for reader in site.readers:
            wanted = problem.wanted(reader)
            if wanted == given:
                continue
            if reader.node is not None and reader.node in problem.labels:
                label = _label_for_reader(problem, reader, given, variant)
                if label is not None:
                    yield reader.node, label, variant
            if producer is not None and producer in problem.labels:
                label = _label_for_producer(problem, site, producer, wanted, variant)
                if label is not None:
                    yield producer, label, variant


def _label_for_reader(
    problem: LayoutProblem, reader: Reader, given: Perm, variant: int
) -> Label | None:
    if reader.node is None:
        return None
    rule = problem.rule(reader.node)
    local = compose(inverse(reader.through), given)
    return None if rule is None else rule.propose(reader.node, reader.index, local, variant)


def _label_for_producer(
    problem: LayoutProblem, site: Site, producer: onnx_ir.Node, wanted: Perm, variant: int
) -> Label | None:
    rule = problem.rule(producer)
    port = -1 - (site.value.index() or 0)
    return None if rule is None else rule.propose(producer, port, wanted, variant)


def _spread(problem: LayoutProblem, start: onnx_ir.Node, label: Label, variant: int) -> Proposal:
    """Carry an order from one node through all that can take it."""
    found: Proposal = {start: label}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        if found[node] == problem.labels[node]:
            continue
        for neighbour, wish in _neighbours(problem, node, found[node], variant):
            if neighbour not in found and wish is not None:
                found[neighbour] = wish
                queue.append(neighbour)
    return {node: wish for node, wish in found.items() if wish != problem.labels[node]}


def _neighbours(
    problem: LayoutProblem, node: onnx_ir.Node, label: Label, variant: int
) -> Iterator[tuple[onnx_ir.Node, Label | None]]:
    ports = problem.ports(node, label)
    if ports is None:
        return
    for value, perm in zip(node.outputs, ports.outputs, strict=True):
        site = problem.sites.get(value)
        for reader in site.readers if site is not None else ():
            if reader.node is not None and reader.node in problem.labels:
                yield reader.node, _label_for_reader(problem, reader, perm, variant)
    for source, local in zip(node.inputs, ports.inputs, strict=True):
        if source is None or local is None:
            continue
        root, through = problem.root(source)
        producer = root.producer()
        if producer is not None and producer in problem.labels:
            wanted = compose(through, local)
            yield (
                producer,
                _label_for_producer(problem, problem.sites[root], producer, wanted, variant),
            )


def _sites_of(problem: LayoutProblem, node: onnx_ir.Node) -> Iterator[Site]:
    for value in (*node.inputs, *node.outputs):
        if value is not None:
            site = problem.sites.get(problem.root(value)[0])
            if site is not None:
                yield site


def _adopt(problem: LayoutProblem, proposal: Proposal) -> bool:
    """Take the cheapest part of a proposal; False when none of it helps."""
    sites = list({id(s): s for node in proposal for s in _sites_of(problem, node)}.values())
    before = sum(problem.site_cost(site) for site in sites)
    for chosen in (_cheapest(problem, proposal, sites), proposal):
        old = {node: problem.labels[node] for node in chosen}
        problem.labels.update(chosen)
        if sum(problem.site_cost(site) for site in sites) < before:
            return True
        problem.labels.update(old)
    return False


def _cheapest(problem: LayoutProblem, proposal: Proposal, sites: list[Site]) -> Proposal:
    network = MinCut()
    vertices = {node: network.vertex() for node in proposal}
    for site in sites:
        if constant(site.value) is None:
            _add_site(problem, network, site, proposal, vertices)
    adopting = network.sink_side()
    return {node: label for node, label in proposal.items() if vertices[node] in adopting}


def _add_site(
    problem: LayoutProblem,
    network: MinCut,
    site: Site,
    proposal: Proposal,
    vertices: dict[onnx_ir.Node, int],
) -> None:
    """Charge a value's transposes.

    A vertex on the sink's side adopts its proposal. With the producer in its old order, all
    readers that want one other order share one transpose; likewise in its new order. Readers that
    a change of order would hurt in both cases are left out: `_adopt` counts exactly.
    """
    producer = site.value.producer()
    changes = producer is not None and producer in proposal
    given = vertices[producer] if changes and producer is not None else MinCut.SOURCE
    old = problem.given(site)
    new = problem.given(site, proposal[producer]) if changes and producer is not None else old
    missing_old: dict[Perm, list[int]] = defaultdict(list)
    missing_new: dict[Perm, list[int]] = defaultdict(list)
    for reader in site.readers:
        keep = problem.wanted(reader)
        adopt, vertex = keep, MinCut.SOURCE
        if reader.node is not None and reader.node in proposal:
            adopt, vertex = problem.wanted(reader, proposal[reader.node]), vertices[reader.node]
        if keep != old and adopt == old and not changes:
            missing_new[keep].append(vertex)
        elif keep != new and changes:
            missing_new[keep].append(vertex if adopt == new else MinCut.SOURCE)
        if adopt != old:
            always = keep != old
            missing_old[adopt].append(MinCut.SINK if always else vertex)
    for perm, members in missing_old.items():
        _charge(network, members, given, _price(site, old, perm), reader_adopts=True)
    for perm, members in missing_new.items():
        anchor = given if changes else MinCut.SINK
        _charge(network, members, anchor, _price(site, new, perm), reader_adopts=False)


def _price(site: Site, given: Perm, wanted: Perm) -> int:
    same = order(given, site.dims) == order(wanted, site.dims)
    return 1 if same else weight(site) + 1


def _charge(
    network: MinCut, members: list[int], producer: int, price: int, *, reader_adopts: bool
) -> None:
    """Charge once when any reader is on the other side than the producer."""
    helper = network.vertex()
    if reader_adopts:
        network.edge(producer, helper, price)
        for vertex in members:
            network.edge(helper, vertex, _NEVER)
        return
    network.edge(helper, producer, price)
    for vertex in members:
        network.edge(vertex, helper, _NEVER)
