"""float16 weights: constants stored in half the bytes, each behind a DEQUANTIZE.

This is what TensorFlow's float16 quantization writes. Runtimes that compute in float16 take the
weights as they are, others widen them once when the model is loaded.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Graph, Operator, Tensor
from edgekit.passes.half import rounds


def store_half(graph: Graph, keep: Collection[str] = ()) -> None:
    """Store float32 weights as float16, in place.

    Args:
        graph: the lowered graph.
        keep: names of IR nodes whose weights stay float32.
    """
    widened: dict[int, Tensor] = {}
    added: list[Operator] = []
    for operator in graph.operators:
        if operator.origin in keep:
            continue
        for index, tensor in enumerate(operator.inputs):
            if tensor is None or not _shrinks(tensor):
                continue
            if id(tensor) not in widened:
                widened[id(tensor)] = _widen(tensor, added)
            operator.inputs[index] = widened[id(tensor)]
    graph.operators = [*added, *graph.operators]


def _shrinks(tensor: Tensor) -> bool:
    return tensor.data is not None and rounds(tensor.data)


def _widen(tensor: Tensor, added: list[Operator]) -> Tensor:
    if tensor.data is None:
        return tensor
    half = Tensor(f"{tensor.name}/half", "float16", tensor.shape, tensor.data.astype(np.float16))
    wide = Tensor(tensor.name, "float32", tensor.shape)
    added.append(Operator("DEQUANTIZE", [half], [wide], schema.DequantizeOptionsT()))
    return wide
