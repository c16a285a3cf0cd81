"""Writes a solved choice of axis orders back into the graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from edgekit.passes.canonicalize._axis_edits import dims_of
from edgekit.passes.canonicalize._layout_problem import LayoutProblem, Reader, Site
from edgekit.passes.canonicalize.permutations import Perm, between, order
from edgekit.passes.canonicalize.rewrite import add_constant, constant, fresh_name


@dataclass(frozen=True)
class _Delivery:
    """In which order a value is made, and in which order each reader gets it."""

    site: Site
    given: Perm
    readers: tuple[tuple[Reader, Perm], ...]


def materialize(problem: LayoutProblem) -> None:
    """Rewrite nodes for their labels and insert the transposes that are left."""
    graph = problem.graph
    plan = [
        _Delivery(site, problem.given(site), tuple((r, problem.wanted(r)) for r in site.readers))
        for site in problem.sites.values()
    ]
    _apply_labels(problem)
    outputs = list(graph.outputs)
    for delivery in plan:
        _deliver(graph, delivery, outputs)
    _set_outputs(graph, outputs)
    for node in reversed(problem.transposes):
        value = node.outputs[0]
        if not value.uses() and not value.is_graph_output():
            graph.remove(node, safe=True)


def _apply_labels(problem: LayoutProblem) -> None:
    """Nodes that reorder features come first: they look at constants that others rewrite."""
    changed = [
        (node, label) for node, label in problem.labels.items() if label != problem.neutral[node]
    ]
    changed.sort(key=lambda entry: not getattr(entry[1], "features", False))
    for node, label in changed:
        rule = problem.rule(node)
        if rule is not None:
            rule.apply(node, label)


def _deliver(graph: onnx_ir.Graph, delivery: _Delivery, outputs: list[onnx_ir.Value]) -> None:
    made: dict[Perm, onnx_ir.Value] = {delivery.given: delivery.site.value}
    fixed = constant(delivery.site.value) is not None
    for reader, wanted in delivery.readers:
        if fixed and wanted == reader.through == delivery.given:
            continue  # read directly: `apply` may have put another constant in its place
        if wanted not in made:
            made[wanted] = _moved(graph, delivery.site, delivery.given, wanted)
        if reader.node is None:
            outputs[reader.index] = made[wanted]
        elif reader.node.inputs[reader.index] is not made[wanted]:
            reader.node.replace_input_with(reader.index, made[wanted])


def _moved(graph: onnx_ir.Graph, site: Site, given: Perm, wanted: Perm) -> onnx_ir.Value:
    """A value in another order: a new constant, a Reshape where that is enough, a Transpose."""
    perm = between(given, wanted)
    name = fresh_name(graph, f"{site.value.name}/{''.join(map(str, wanted))}")
    data = constant(site.value)
    if data is not None:
        return add_constant(graph, data.transpose(perm), name)
    dims = tuple(site.dims[axis] for axis in wanted)
    result = onnx_ir.Value(name=name, shape=onnx_ir.Shape(dims), type=site.value.type)
    dynamic = sum(not isinstance(size, int) for size in dims)
    if order(given, site.dims) == order(wanted, site.dims) and dynamic <= 1:
        sizes = np.array([s if isinstance(s, int) else -1 for s in dims], np.int64)
        shape = add_constant(graph, sizes, f"{name}/shape")
        node = onnx_ir.node("Reshape", [site.value, shape], outputs=[result], name=name)
    else:
        node = onnx_ir.node(
            "Transpose", [site.value], {"perm": list(perm)}, outputs=[result], name=name
        )
    _insert_behind(graph, site.value, node)
    return result


def _insert_behind(graph: onnx_ir.Graph, value: onnx_ir.Value, node: onnx_ir.Node) -> None:
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, node)
    else:
        graph.insert_before(graph[0], node)


def _set_outputs(graph: onnx_ir.Graph, wanted: list[onnx_ir.Value]) -> None:
    """Let each output be the value wanted for it, under the name it had."""
    changes = [
        (index, old.name or "output", old, new)
        for index, (old, new) in enumerate(zip(list(graph.outputs), wanted, strict=True))
        if old is not new
    ]
    taken = {id(new) for old, new in zip(graph.outputs, wanted, strict=True) if old is new}
    for _, name, old, _ in changes:
        old.name = fresh_name(graph, f"{name}/inner")
    for index, name, _, new in changes:
        value = new
        if new.producer() is None or id(new) in taken:
            value = onnx_ir.Value(name=name, shape=onnx_ir.Shape(dims_of(new)), type=new.type)
            graph.append(onnx_ir.node("Identity", [new], outputs=[value], name=name))
        taken.add(id(new))
        value.name = name
        graph.outputs[index] = value
