"""Lets equal constants be one."""

from __future__ import annotations

import hashlib

import onnx_ir

from edgekit.passes.base import InPlacePass, PassResult

Key = tuple[onnx_ir.DataType, tuple[int, ...], bytes]


class DeduplicateConstants(InPlacePass):
    """Keeps one of several initializers with the same type, shape and bytes.

    ```
    before   a = Mul(x, k1 = 0.5); y = Mul(a, k2 = 0.5)
    after    a = Mul(x, k1 = 0.5); y = Mul(a, k1)
    ```
    """

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Deduplicate within each graph."""
        modified = False
        for graph in model.graphs():
            first: dict[Key, onnx_ir.Value] = {}
            for value in _candidates(graph):
                kept = first.setdefault(_key(value), value)
                if kept is not value:
                    value.replace_all_uses_with(kept)
                    graph.initializers.pop(value.name or "")
                    modified = True
        return PassResult(model, modified)


def _candidates(graph: onnx_ir.Graph) -> list[onnx_ir.Value]:
    """Constants that may have a twin: only those of a type and shape that occurs twice are read.

    Sorted by name, so that the one that stays does not depend on the order in the file, which
    exporters do not keep from one run to the next.
    """
    groups: dict[tuple[onnx_ir.DataType, tuple[int, ...]], list[onnx_ir.Value]] = {}
    for value in graph.initializers.values():
        tensor = value.const_value
        edge = value.is_graph_input() or value.is_graph_output()
        if tensor is None or edge or tensor.dtype == onnx_ir.DataType.STRING:
            continue
        groups.setdefault((tensor.dtype, tuple(tensor.shape.numpy())), []).append(value)
    twins = [value for group in groups.values() if len(group) > 1 for value in group]
    return sorted(twins, key=lambda value: value.name or "")


def _key(value: onnx_ir.Value) -> Key:
    tensor = value.const_value
    if tensor is None:
        raise ValueError(f"initializer '{value.name}' has no data")
    digest = hashlib.sha256(tensor.tobytes()).digest()
    return tensor.dtype, tuple(tensor.shape.numpy()), digest
