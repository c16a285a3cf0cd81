"""Results that 8 evenly spaced bits cannot hold, because their small values matter as much.

The readers tell. A logarithm asks for the same *relative* precision everywhere, and so does what
it takes its operand from, as far back as scaling the operand scales the result: the power spectrum
under a log-mel front end is the usual case. A square root, a reciprocal and a denominator are
steepest at zero; what matters to them are small sums (of squares, in a norm or a variance), while
the terms' own operands may be coarse.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir

from edgekit.passes.quantize.conditions import is_float, operand
from edgekit.passes.quantize.constants import is_constant

_KEEPS = frozenset(
    {
        "Abs",
        "Add",
        "Clip",
        "Concat",
        "Expand",
        "Flatten",
        "Gather",
        "GlobalAveragePool",
        "Max",
        "Pad",
        "ReduceMean",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
    }
)
"""Ops whose small results come from small operands; Add and Clip often only keep zero away."""

_LINEAR = frozenset({"Conv", "Gemm", "MatMul", "Mul", "Sqrt"})
"""Ops that scale with their operands, where they have no bias."""

_OPERANDS = {"Log": 0, "Sqrt": 0, "Reciprocal": 0, "Div": 1}
"""Operand of which the small values matter."""


def wide_nodes(graph: onnx_ir.Graph) -> frozenset[onnx_ir.Node]:
    """The nodes whose results must not be stored in 8 bits.

    Args:
        graph: a canonical graph.
    """
    found: set[tuple[onnx_ir.Value, bool]] = set()
    waiting = [(value, relative) for value, relative in _demands(graph)]
    while waiting:
        value, relative = waiting.pop()
        node = value.producer()
        if (value, relative) in found or node is None:
            continue
        found.add((value, relative))
        if node.op_type in _KEEPS or (relative and _scales(node)):
            waiting += [(v, relative) for v in _computed(node)]
    return frozenset(node for value, _ in found if (node := value.producer()) is not None)


def _demands(graph: onnx_ir.Graph) -> Iterator[tuple[onnx_ir.Value, bool]]:
    """Operands whose small values matter, and whether all that makes them matters as much."""
    for node in graph:
        index = _OPERANDS.get(node.op_type)
        value = None if index is None else operand(node, index)
        if value is not None and is_float(value) and not is_constant(value):
            yield value, node.op_type == "Log"


def _scales(node: onnx_ir.Node) -> bool:
    return node.op_type in _LINEAR and operand(node, 2) is None


def _computed(node: onnx_ir.Node) -> Iterator[onnx_ir.Value]:
    return (v for v in node.inputs if v is not None and is_float(v) and not is_constant(v))
