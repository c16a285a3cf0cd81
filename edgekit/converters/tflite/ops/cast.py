"""Changes of element type."""

from __future__ import annotations

import onnx_ir

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering
from edgekit.converters.tflite.ops._build import cast_into, emit, scalar_like
from edgekit.converters.tflite.ops.shape import forward


def lower_cast(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Cast and CastLike; only a value other than zero is true."""
    x, out = ctx.input(node, 0), ctx.output(node)
    if x.quantization is not None:
        raise CannotLower("Cast of a quantized tensor", "keep this node in float")
    if x.dtype == out.dtype:
        forward(ctx, node)
    elif out.dtype == "bool" and x.dtype in ("float32", "int32", "int64"):
        emit(ctx, "NOT_EQUAL", [x, scalar_like(ctx, x, 0, "zero")], out)
    else:
        cast_into(ctx, _signed(ctx, x, out.dtype), out)


def _signed(ctx: Lowering, x: Tensor, dtype: str) -> Tensor:
    """Float to unsigned goes through int64, so that negative values wrap instead of saturate."""
    if dtype.startswith("uint") and "float" in x.dtype:
        return ctx.cast(x, "int64", "integer")
    return x


LOWERINGS: dict[str, Lower] = {"Cast": lower_cast, "CastLike": lower_cast}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset()
"""Operators whose lowering is right for int8 tensors too."""
