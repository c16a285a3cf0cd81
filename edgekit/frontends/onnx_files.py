"""Passes an exported graph from a worker, or from memory, through a file into the IR."""

from __future__ import annotations

from pathlib import Path

import onnx_ir

_INLINE_LIMIT = 1 << 30
"""Bytes of constants above which they go to a file of their own: protobuf stops at 2 GB."""


def save(model: onnx_ir.Model, path: Path) -> None:
    """Write a model, with its constants beside it when they are large.

    Args:
        model: the model.
        path: the `.onnx` file to write.
    """
    constants = (v.const_value for graph in model.graphs() for v in graph.initializers.values())
    size = sum(tensor.nbytes for tensor in constants if tensor is not None)
    beside = f"{path.name}.data" if size > _INLINE_LIMIT else None
    onnx_ir.save(model, path, external_data=beside)
