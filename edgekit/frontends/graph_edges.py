"""Gives an exported graph the source's own names and sizes at its inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir

BATCH = "batch"
"""Name of the symbolic size of a dynamic first axis."""


@dataclass(frozen=True)
class Port:
    """An input or output as the source has it.

    Attributes:
        name: the source's own name.
        shape: sizes, None where dynamic; None as a whole when the rank is unknown.
        dtype: element type in the source's own terms, for its frontend only.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: object = None


def unique(names: Iterable[str]) -> list[str]:
    """The names, with `_1`, `_2`, ... added where one occurs again."""
    seen: set[str] = set()
    result = []
    for name in names:
        candidate, count = name, 0
        while candidate in seen:
            count += 1
            candidate = f"{name}_{count}"
        seen.add(candidate)
        result.append(candidate)
    return result


def name_edges(
    model: onnx_ir.Model, inputs: Sequence[tuple[str, Port]], outputs: Sequence[tuple[str, Port]]
) -> None:
    """Rename, reorder and resize the graph's inputs and outputs, in place.

    An input that the exporter dropped because nothing reads it comes back. A dynamic first axis is
    called `batch`; any other dynamic axis is called after its tensor.

    Args:
        model: the exported model.
        inputs: for each input of the source, its name in the exported graph and what it is.
        outputs: the same for outputs.
    """
    graph = model.graph
    free_names(graph, {port.name for _, port in (*inputs, *outputs)})
    found = {value.name: value for value in graph.inputs}
    ordered = [found.get(name) or onnx_ir.Value(name=name) for name, _ in inputs]
    graph.inputs.clear()
    graph.inputs.extend(ordered)
    produced = {value.name: value for value in graph.outputs}
    fed = {id(value): port.name for value, (_, port) in zip(ordered, inputs, strict=True)}
    results = [_passed(produced[name], port.name, fed) for name, port in outputs]
    graph.outputs.clear()
    graph.outputs.extend(results)
    for value, (_, port) in zip((*ordered, *results), (*inputs, *outputs), strict=True):
        value.name = port.name
        if port.shape is not None:
            value.shape = onnx_ir.Shape(_dims(port))


def _passed(output: onnx_ir.Value, name: str, fed: Mapping[int, str]) -> onnx_ir.Value:
    """The input itself, where an output of the same name is a copy of it: a name has one value."""
    node = output.producer()
    if node is None or node.op_type != "Identity" or node.inputs[0] is None:
        return output
    return node.inputs[0] if fed.get(id(node.inputs[0])) == name else output


def free_names(graph: onnx_ir.Graph, taken: set[str]) -> None:
    """Rename inner values that have a name which an input or output is to get."""
    edges = {id(v) for v in (*graph.inputs, *graph.outputs)}
    inner = [v for node in graph.all_nodes() for v in node.outputs]
    inner += list(graph.initializers.values())
    used = {v.name for v in inner}
    for value in inner:
        if value.name in taken and id(value) not in edges:
            count = 1
            while (name := f"{value.name}_inner_{count}") in used:
                count += 1
            used.add(name)
            value.name = name


def forget_unknown_sizes(graph: onnx_ir.Graph) -> None:
    """Drop the exporter's made-up names of unknown sizes, which mean nothing across tensors."""
    for node in graph.all_nodes():
        for value in node.outputs:
            if value.shape is not None:
                value.shape = onnx_ir.Shape(
                    [d if isinstance(d, int) else None for d in value.shape]
                )


def _dims(port: Port) -> list[int | str]:
    sizes = port.shape or ()
    return [
        size if size is not None else (f"{port.name}_{axis}" if axis else BATCH)
        for axis, size in enumerate(sizes)
    ]
