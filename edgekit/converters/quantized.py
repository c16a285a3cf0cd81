"""What the Q/DQ pairs of a graph say about its nodes."""

from __future__ import annotations

import onnx_ir

COMPUTE = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators with two operands that integer kernels multiply."""

_MOVERS = frozenset(
    {
        "DepthToSpace",
        "Flatten",
        "MaxPool",
        "Reshape",
        "SpaceToDepth",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""Operators that only move or select values, which runtimes move a DequantizeLinear through."""


def is_dequantized(value: onnx_ir.Value | None) -> bool:
    """Whether a value comes from a DequantizeLinear, maybe through what only moves its values."""
    producer = None if value is None else value.producer()
    while producer is not None and producer.op_type in _MOVERS:
        source = producer.inputs[0]
        producer = None if source is None else source.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def quantized_nodes(graph: onnx_ir.Graph) -> tuple[onnx_ir.Node, ...]:
    """Compute nodes both of whose operands are quantized: those meant to run in INT8."""
    return tuple(
        node
        for node in graph
        if node.op_type in COMPUTE and all(is_dequantized(v) for v in node.inputs[:2])
    )
