"""Element-wise operators."""

from __future__ import annotations

import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.lowering import Lower, Lowering

_BINARY = {
    "Add": ("ADD", schema.AddOptionsT),
    "Sub": ("SUB", schema.SubOptionsT),
    "Mul": ("MUL", schema.MulOptionsT),
    "Div": ("DIV", schema.DivOptionsT),
}


def lower_binary(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Operators with NumPy broadcasting on both sides."""
    builtin, options = _BINARY[node.op_type]
    ctx.add(builtin, [ctx.input(node, 0), ctx.input(node, 1)], ctx.output(node), options())


LOWERINGS: dict[str, Lower] = dict.fromkeys(_BINARY, lower_binary)
