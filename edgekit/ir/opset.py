"""The opset that a canonical graph is written down with.

Opset 21 changed one operator's meaning (GroupNormalization) and gave others more types. A graph
that needs none of this means the same under opset 20, which older runtimes read, and which ONNX
Runtime's optimizer handles better: from opset 21 on it moves a DequantizeLinear of int8 values past
a Transpose with a QuantizeLinear that lacks its zero point, and then refuses its own graph.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir

_LOWER = 20
_CHANGED = frozenset({"GroupNormalization"})
_NEW_ATTRIBUTES = frozenset({"block_size", "output_dtype", "saturate"})
_QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_FOUR_BITS = frozenset({onnx_ir.DataType.INT4, onnx_ir.DataType.UINT4})
_LATER_TYPES = _FOUR_BITS | {onnx_ir.DataType.INT16, onnx_ir.DataType.UINT16}
"""Types that only opset 21 quantizes to."""


def written_opset(model: onnx_ir.Model) -> int:
    """The model's opset, or 20 instead of 21 where its graphs mean the same under that."""
    own = model.opset_imports.get("", _LOWER)
    if own != _LOWER + 1 or any(_needs_later(node) for node in _nodes(model)):
        return own
    return _LOWER


def _nodes(model: onnx_ir.Model) -> Iterable[onnx_ir.Node]:
    for graph in model.graphs():
        yield from graph


def _needs_later(node: onnx_ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type in _CHANGED:
        return True
    if node.op_type not in _QUANTIZERS:
        return any(v is not None and v.dtype in _FOUR_BITS for v in (*node.inputs, *node.outputs))
    if not _NEW_ATTRIBUTES.isdisjoint(node.attributes):
        return True
    return any(v is not None and v.dtype in _LATER_TYPES for v in (*node.inputs, *node.outputs))
