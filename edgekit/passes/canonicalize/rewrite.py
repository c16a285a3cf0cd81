"""The few graph edits that all passes are made of: read a constant, add a node, replace a value.

They keep three promises: graph outputs keep their names, constants are shared and never changed in
place, and a node that nobody reads any more disappears together with what only it has read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir

from edgekit.passes.base import DEFAULT_DOMAINS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NAMES = "edgekit.names"


def is_op(node: onnx_ir.Node | None, *op_types: str) -> bool:
    """Whether `node` exists and is of the standard domain and one of these types."""
    return node is not None and node.op_type in op_types and node.domain in DEFAULT_DOMAINS


def producer(value: onnx_ir.Value | None, *op_types: str) -> onnx_ir.Node | None:
    """The node of one of these types that makes `value`; None if there is no such node."""
    node = value.producer() if value is not None else None
    return node if is_op(node, *op_types) else None


def attribute(node: onnx_ir.Node, name: str, default: Any = None) -> Any:
    """Value of an attribute, lists as tuples; `default` where it is absent."""
    found = node.attributes.get(name)
    if found is None or found.is_ref():
        return default
    return tuple(found.value) if isinstance(found.value, (list, tuple)) else found.value


def input_at(node: onnx_ir.Node, index: int) -> onnx_ir.Value | None:
    """Input number `index`, None where it is absent or empty."""
    return node.inputs[index] if index < len(node.inputs) else None


def has_input(node: onnx_ir.Node, index: int) -> bool:
    """Whether input number `index` is given."""
    return input_at(node, index) is not None


def is_constant(value: onnx_ir.Value | None) -> bool:
    """Whether `constant` gives an array; nothing is read to find out."""
    return (
        value is not None
        and value.const_value is not None
        and value.is_initializer()
        and not value.is_graph_input()
        and value.const_value.dtype != onnx_ir.DataType.STRING
    )


def constant(value: onnx_ir.Value | None) -> NDArray[Any] | None:
    """The array behind an initializer that cannot be fed from outside; None for anything else."""
    if value is None or value.const_value is None or not is_constant(value):
        return None
    return value.const_value.numpy()


def floats(value: onnx_ir.Value | None) -> NDArray[np.float64] | None:
    """A floating-point constant in double precision; None for anything else."""
    if value is None or value.dtype is None or not value.dtype.is_floating_point():
        return None
    array = constant(value)
    return None if array is None else array.astype(np.float64)


def integers(value: onnx_ir.Value | None) -> tuple[int, ...] | None:
    """The entries of an integer constant; None for anything else."""
    array = constant(value)
    if array is None or array.dtype.kind not in "iu":
        return None
    return tuple(int(v) for v in array.reshape(-1))


def scalar(value: onnx_ir.Value | None) -> float | None:
    """The number in a constant of one element; None for anything else."""
    if value is None or value.const_value is None or value.const_value.size != 1:
        return None
    array = constant(value)
    return None if array is None or array.dtype.kind == "b" else float(array.reshape(-1)[0])


def rank(value: onnx_ir.Value | None) -> int | None:
    """Number of axes, None where unknown."""
    return None if value is None or value.shape is None else len(value.shape)


def dims(value: onnx_ir.Value | None) -> tuple[int | str | None, ...] | None:
    """Sizes of the axes: numbers, symbolic names or None; None where the rank is unknown."""
    if value is None or value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else d.value for d in value.shape)


def static_dims(value: onnx_ir.Value | None) -> tuple[int, ...] | None:
    """Sizes of the axes where all of them are numbers; None otherwise."""
    sizes = dims(value)
    if sizes is None:
        return None
    numbers = tuple(d for d in sizes if isinstance(d, int))
    return numbers if len(numbers) == len(sizes) else None


def same_dims(a: onnx_ir.Value | None, b: onnx_ir.Value | None) -> bool:
    """Whether two values are known to have the same shape."""
    left, right = dims(a), dims(b)
    return left is not None and left == right and None not in left


def only_reader(value: onnx_ir.Value | None) -> bool:
    """Whether exactly one node reads `value`, once, and nobody outside the graph does."""
    return value is not None and len(value.uses()) == 1 and not value.is_graph_output()


def graph_of(node: onnx_ir.Node) -> onnx_ir.Graph:
    """The graph that owns a node."""
    graph = node.graph
    if not isinstance(graph, onnx_ir.Graph):
        raise ValueError(f"node '{node.name}' is not part of a graph")
    return graph


class _Names:
    """The names in use, shared by a graph and the bodies inside it."""

    def __init__(self, graphs: Iterable[onnx_ir.Graph]) -> None:
        self.used: set[str] = set()
        self.counter = 0
        for graph in graphs:
            self.used.update(onnx_ir.convenience.create_value_mapping(graph))


def share_names(model: onnx_ir.Model) -> None:
    """Note the names in use, so that `fresh_name` gives unique ones in bodies of nodes, too."""
    names = _Names([model.graph])
    for graph in model.graphs():
        graph.meta[_NAMES] = names


def fresh_name(graph: onnx_ir.Graph, base: str) -> str:
    """A name that no value of the graph has: `base__1`, `base__2`, ..."""
    names = graph.meta.get(_NAMES)
    if names is None:
        names = graph.meta[_NAMES] = _Names([graph])
    stem = base.rsplit("__", 1)[0] if base.rsplit("__", 1)[-1].isdigit() else base
    while True:
        names.counter += 1
        name = f"{stem}__{names.counter}"
        if name not in names.used and name not in graph.initializers:
            names.used.add(name)
            return name


def add_constant(graph: onnx_ir.Graph, array: NDArray[Any], base: str) -> onnx_ir.Value:
    """Register a new initializer, named after `base`."""
    name = fresh_name(graph, base)
    tensor = onnx_ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
    value = onnx_ir.val(name, const_value=tensor)
    graph.register_initializer(value)
    return value


def constant_like(
    node: onnx_ir.Node, array: NDArray[Any], like: onnx_ir.Value, base: str | None = None
) -> onnx_ir.Value:
    """A new initializer beside `node` with the float type of `like`."""
    dtype = like.dtype.numpy() if like.dtype is not None else np.dtype(np.float32)
    return add_constant(graph_of(node), np.asarray(array).astype(dtype), base or like.name or "c")


def add_node(
    before: onnx_ir.Node,
    op_type: str,
    inputs: Sequence[onnx_ir.Value | None],
    attributes: Mapping[str, Any] | None = None,
    *,
    like: onnx_ir.Value | None = None,
    name: str | None = None,
) -> onnx_ir.Value:
    """Insert a node with one output.

    Args:
        before: the node in front of which it goes.
        op_type: its type, of the standard domain.
        inputs: what it reads.
        attributes: its attributes.
        like: the value whose element type and shape the output has.
        name: base for the names of the node and of its output.

    Returns:
        The new output.
    """
    graph = graph_of(before)
    base = name or before.name or op_type
    output = onnx_ir.val(fresh_name(graph, base))
    node = onnx_ir.node(op_type, inputs, attributes, outputs=[output], name=fresh_name(graph, base))
    if like is not None:
        output.type, output.shape = like.type, like.shape
    graph.insert_before(before, node)
    return output


def replace(old: onnx_ir.Value, new: onnx_ir.Value) -> None:
    """Let everyone who reads `old` read `new`, and sweep away what is dead then.

    The new value takes the old one's name if that is a graph output; where the new one cannot
    take it (an input, a constant, another output), an Identity carries the name.
    """
    node = old.producer()
    if node is None:
        raise ValueError(f"value '{old.name}' is not made by a node")
    graph = graph_of(node)
    if old.is_graph_output():
        if new.producer() is None or new.is_graph_output() or new.graph is not graph:
            new = add_node(node, "Identity", [new], like=old)
        name, old.name = old.name, fresh_name(graph, old.name or "v")
        new.name = name
        _complete(new, old.type, old.shape, prefer=True)
    else:
        _complete(new, old.type, old.shape, prefer=False)
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    sweep(node)


def _complete(
    value: onnx_ir.Value,
    dtype: onnx_ir.TypeProtocol | None,
    shape: onnx_ir.Shape | None,
    *,
    prefer: bool,
) -> None:
    """Fill in what is not known of a value; with `prefer`, overwrite what is. A scalar's is ()."""
    if dtype is not None and (prefer or value.type is None):
        value.type = dtype
    if shape is not None and (prefer or value.shape is None):
        value.shape = shape


def sweep(node: onnx_ir.Node) -> None:
    """Remove `node` if nobody reads its outputs, then what only it has read."""
    pending = [node]
    while pending:
        current = pending.pop()
        graph = current.graph
        if graph is None or any(v.uses() or v.is_graph_output() for v in current.outputs):
            continue
        feeders = [v.producer() for v in current.inputs if v is not None]
        feeders.extend(_detach_subgraphs(current))
        graph.remove(current, safe=True)
        pending.extend(feeder for feeder in feeders if feeder is not None)


def _detach_subgraphs(node: onnx_ir.Node) -> list[onnx_ir.Node | None]:
    """Let the bodies of a control-flow node read nothing; gives the nodes they have read from."""
    feeders: list[onnx_ir.Node | None] = []
    for graph in subgraphs(node):
        for inner in graph.all_nodes():
            for index, value in enumerate(inner.inputs):
                if value is not None:
                    feeders.append(value.producer())
                    inner.replace_input_with(index, None)
    return feeders


def subgraphs(node: onnx_ir.Node) -> tuple[onnx_ir.Graph, ...]:
    """The bodies of a control-flow node."""
    found: list[onnx_ir.Graph] = []
    for attr in node.attributes.values():
        if attr.type == onnx_ir.AttributeType.GRAPH:
            found.append(attr.as_graph())
        elif attr.type == onnx_ir.AttributeType.GRAPHS:
            found.extend(attr.as_graphs())
    return tuple(found)
