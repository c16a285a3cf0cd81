"""Housekeeping of a graph's constants."""

from __future__ import annotations

import onnx_ir


def drop_unused_constants(graph: onnx_ir.Graph) -> None:
    """Take out the constants that nothing reads, in place."""
    for name, value in list(graph.initializers.items()):
        if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
            del graph.initializers[name]
