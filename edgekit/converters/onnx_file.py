"""Writes an IR graph as an ONNX file that every consumer in use can read."""

from __future__ import annotations

from pathlib import Path

import onnx_ir

from edgekit.ir.opset import written_opset
from edgekit.packages import version_of

IR_VERSION = 10
"""Version of the ONNX file format, the lowest that opset 21 goes with.

Format and opset (20, or 21 where it is needed) are what ONNX Runtime 1.18, OpenVINO 2024.4 and
TensorRT 10.8 and later read.
"""

SINGLE_FILE_LIMIT = 1 << 30
"""Bytes of constants above which they go to a second file, since protobuf stops at 2 GB."""


def write_onnx(model: onnx_ir.Model, path: Path) -> tuple[Path, ...]:
    """Write a graph, with its constants in `<name>.onnx.data` beside it where they are many.

    Args:
        model: the graph; it is not changed.
        path: of the ONNX file, in an existing folder.

    Returns:
        All files written, the ONNX file first.
    """
    copy = portable(model)
    if constant_bytes(model) <= SINGLE_FILE_LIMIT:
        onnx_ir.save(copy, path)
        return (path,)
    data = path.with_name(path.name + ".data")
    onnx_ir.save(copy, path, external_data=data.name)
    return (path, data)


def portable(model: onnx_ir.Model) -> onnx_ir.Model:
    """A copy that older readers take, without what exporters write down about the exporting.

    PyTorch's exporter keeps the stack trace of each node: longer than the node, and full of the
    names of someone's folders.
    """
    copy = model.clone()
    copy.opset_imports[""] = written_opset(model)
    copy.ir_version = min(copy.ir_version or IR_VERSION, IR_VERSION)
    copy.producer_name, copy.producer_version = "edgekit", version_of("edgekit")
    copy.doc_string = None
    copy.metadata_props.clear()
    for graph in copy.graphs():
        graph.doc_string = None
        graph.metadata_props.clear()
        for node in graph:
            node.doc_string = None
            node.metadata_props.clear()
            for value in node.outputs:
                value.metadata_props.clear()
        for value in (*graph.inputs, *graph.initializers.values()):
            value.metadata_props.clear()
    return copy


def constant_bytes(model: onnx_ir.Model) -> int:
    """Bytes of all constants of the main graph."""
    values = model.graph.initializers.values()
    return sum(value.const_value.nbytes for value in values if value.const_value is not None)
