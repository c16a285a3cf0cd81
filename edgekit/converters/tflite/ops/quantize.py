"""QuantizeLinear and DequantizeLinear that remain: at edges, at float nodes, between scales."""

from __future__ import annotations

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.encodings import (
    DEQUANTIZE,
    QUANTIZE,
    STORED,
    Encoding,
    along,
    encoding_of,
)
from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering
from edgekit.converters.tflite.ops._build import cast_into

_HINT = "quantize by static int8 scales"


def _encoding(node: onnx_ir.Node) -> Encoding:
    encoding = encoding_of(node)
    if encoding is None:
        raise CannotLower(
            "its scale is computed at run time, or differs from block to block", _HINT
        )
    return encoding


def lower_quantize(ctx: Lowering, node: onnx_ir.Node) -> None:
    """QUANTIZE, from float or from integers of another encoding."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if out.quantization is None:
        out.quantization = _encoding(node).quantization
    if out.dtype not in STORED:
        raise CannotLower(f"TFLite cannot quantize to {out.dtype}", _HINT)
    if out.dtype == "int16" and out.quantization.zero_point.any():
        raise CannotLower("TFLite's int16 values have no zero point", _HINT)
    real = ctx.cast(x, "float32", "float32") if x.quantization is None else x
    ctx.add("QUANTIZE", [real], out, schema.QuantizeOptionsT())


def lower_dequantize(ctx: Lowering, node: onnx_ir.Node) -> None:
    """DEQUANTIZE; arithmetic for the types that it does not read, such as int32 sums."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if x.dtype in STORED and x.quantization is None:
        x.quantization = _encoding(node).quantization
    real = out if out.dtype == "float32" else ctx.temporary("float32", x.shape, "real")
    if x.dtype in STORED:
        ctx.add("DEQUANTIZE", [x], real, schema.DequantizeOptionsT())
    else:
        _dequantize_by_arithmetic(ctx, x, _encoding(node), real)
    if real is not out:
        cast_into(ctx, real, out)


def _dequantize_by_arithmetic(ctx: Lowering, x: Tensor, encoding: Encoding, out: Tensor) -> None:
    """(x - zero point) * scale, in float."""
    q = encoding.quantization
    real = ctx.cast(x, "float32", "float32")
    if q.zero_point.any():
        offset = ctx.constant(along(q.zero_point, q, x.rank).astype(np.float32), "zero_point")
        shifted = ctx.temporary("float32", x.shape, "shifted")
        real = ctx.add("SUB", [real, offset], shifted, schema.SubOptionsT())
    scale = ctx.constant(along(q.scale, q, x.rank).astype(np.float32), "scale")
    ctx.add("MUL", [real, scale], out, schema.MulOptionsT())


LOWERINGS: dict[str, Lower] = {QUANTIZE: lower_quantize, DEQUANTIZE: lower_dequantize}
