"""What can be said about a graph without running it: size, work, operators, images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx_ir

from edgekit.ir.model import Model

_NO_PARAMETERS = frozenset({onnx_ir.DataType.INT64, onnx_ir.DataType.BOOL, onnx_ir.DataType.STRING})
"""Types of constants that hold shapes, axes and flags."""

_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class NodeMacs:
    """The work of one node.

    Attributes:
        node: its name.
        op: its operator.
        macs: multiply-accumulate operations for one sample.
    """

    node: str
    op: str
    macs: int


@dataclass(frozen=True)
class MacsReport:
    """The work of a model.

    Attributes:
        nodes: those that multiply and accumulate, in the order of the graph.
        unknown: names of such nodes whose shapes are not known.
    """

    nodes: tuple[NodeMacs, ...]
    unknown: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Multiply-accumulate operations of all nodes for one sample."""
        return sum(node.macs for node in self.nodes)


def parameters(model: Model) -> int:
    """Number of trained values: elements of all constants but shapes, axes and scales."""
    return sum(
        value.const_value.size
        for graph in model.ir.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
        and value.const_value.dtype not in _NO_PARAMETERS
        and not _only_scales(value)
    )


def _only_scales(value: onnx_ir.Value) -> bool:
    uses = value.uses()
    return bool(uses) and all(node.op_type in _QUANTIZERS and index > 0 for node, index in uses)


def op_counts(model: Model) -> dict[str, int]:
    """How often each operator occurs, most frequent first; bodies of control flow included."""
    counts = Counter(
        f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
        for graph in model.ir.graphs()
        for node in graph
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def macs(model: Model) -> MacsReport:
    """Multiply-accumulate operations of convolutions, matrix products and recurrent layers.

    Symbolic sizes, such as the batch, count as 1. Shapes must have been inferred.
    """
    known: list[NodeMacs] = []
    unknown: list[str] = []
    for graph in model.ir.graphs():
        for node in graph:
            count = _MACS.get(node.op_type)
            if count is None or node.domain not in ("", "ai.onnx"):
                continue
            try:
                known.append(NodeMacs(node.name or "", node.op_type, count(node)))
            except _UnknownShapeError:
                unknown.append(node.name or "")
    return MacsReport(tuple(known), tuple(unknown))


class _UnknownShapeError(Exception):
    """A shape that is needed is not known."""


def _sizes(value: onnx_ir.Value | None) -> tuple[int, ...]:
    if value is None or value.shape is None:
        raise _UnknownShapeError
    return tuple(size if isinstance(size, int) else 1 for size in value.shape)


def _input(node: onnx_ir.Node, index: int) -> tuple[int, ...]:
    return _sizes(node.inputs[index] if index < len(node.inputs) else None)


def _int(node: onnx_ir.Node, name: str) -> int:
    attr = node.attributes.get(name)
    return attr.as_int() if attr is not None else 0


def _conv(weight: int) -> Callable[[onnx_ir.Node], int]:
    def count(node: onnx_ir.Node) -> int:
        return math.prod(_sizes(node.outputs[0])) * math.prod(_input(node, weight)[1:])

    return count


def _conv_transpose(node: onnx_ir.Node) -> int:
    return math.prod(_input(node, 0)) * math.prod(_input(node, 1)[1:])


def _gemm(node: onnx_ir.Node) -> int:
    rows = _input(node, 0)
    return math.prod(_sizes(node.outputs[0])) * rows[0 if _int(node, "transA") else -1]


def _matmul(node: onnx_ir.Node) -> int:
    return math.prod(_sizes(node.outputs[0])) * (_input(node, 0) or (1,))[-1]


def _einsum(node: onnx_ir.Node) -> int:
    equation = node.attributes["equation"].as_string().replace(" ", "")
    terms = equation.split("->")[0].split(",")
    if len(terms) < 2:
        return 0
    sizes: dict[str, int] = {}
    for term, value in zip(terms, node.inputs, strict=True):
        for label, size in _labelled(term, _sizes(value)):
            sizes[label] = max(size, sizes.get(label, 1))
    return math.prod(sizes.values())


def _labelled(term: str, sizes: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    """Sizes by label; axes behind an ellipsis are labelled by their distance from its end."""
    before, dots, after = term.partition("...")
    hidden = len(sizes) - len(before) - len(after)
    labels = [*before, *(f"...{hidden - i}" for i in range(hidden if dots else 0)), *after]
    if len(labels) != len(sizes):
        raise _UnknownShapeError
    yield from zip(labels, sizes, strict=True)


def _recurrent(node: onnx_ir.Node) -> int:
    """Both products of every gate: input by hidden and hidden by hidden."""
    samples = math.prod(_input(node, 0)[:2])
    return samples * (math.prod(_input(node, 1)) + math.prod(_input(node, 2)))


_MACS: dict[str, Callable[[onnx_ir.Node], int]] = {
    "Conv": _conv(1),
    "ConvInteger": _conv(1),
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearConv": _conv(3),
    "QLinearMatMul": _matmul,
    "RNN": _recurrent,
}
