"""Operators on the bits of integers."""

from __future__ import annotations

import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Tensor
from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering, string_attribute
from edgekit.converters.tflite.ops._build import cast_into, compute, options_of, scalar_like

_NARROW = frozenset({"int8", "int16", "int32", "uint8", "uint16"})
"""Types that fit into int32, which is what the kernels compute in."""


def lower_not(ctx: Lowering, node: onnx_ir.Node) -> None:
    """BitwiseNot: -1 - x, in two's complement; the largest value minus x for unsigned types."""
    x, out = ctx.input(node, 0), ctx.output(node)
    ones = scalar_like(ctx, x, -1, "ones") if x.dtype.startswith("int") else _largest(ctx, x)
    compute(ctx, "SUB", [ones, x], out, options_of("SUB"))


def _largest(ctx: Lowering, x: Tensor) -> Tensor:
    largest = {"uint8": 2**8 - 1, "uint16": 2**16 - 1, "uint32": 2**32 - 1}.get(x.dtype)
    if largest is None:
        raise CannotLower(f"BitwiseNot of {x.dtype}", "cast its input to int64")
    return scalar_like(ctx, x, largest, "ones")


def lower_xor(ctx: Lowering, node: onnx_ir.Node) -> None:
    """BitwiseXor."""
    _in_int32(ctx, node, "BITWISE_XOR", schema.BitwiseXorOptionsT())


def lower_shift(ctx: Lowering, node: onnx_ir.Node) -> None:
    """BitShift to the right."""
    if string_attribute(node, "direction", "") != "RIGHT":
        raise CannotLower("BitShift to the left", "multiply by a power of two instead")
    _in_int32(ctx, node, "RIGHT_SHIFT", schema.RightShiftOptionsT())


def _in_int32(ctx: Lowering, node: onnx_ir.Node, builtin: str, options: object) -> None:
    x, y, out = ctx.input(node, 0), ctx.input(node, 1), ctx.output(node)
    if x.dtype not in _NARROW or x.quantization is not None:
        raise CannotLower(f"{node.op_type} of {x.dtype}", "cast its operands to int32")
    operands = [ctx.cast(tensor, "int32", "wide") for tensor in (x, y)]
    if out.dtype == "int32":
        ctx.add(builtin, operands, out, options)
        return
    cast_into(
        ctx, ctx.add(builtin, operands, ctx.temporary("int32", out.shape, "bits"), options), out
    )


LOWERINGS: dict[str, Lower] = {
    "BitShift": lower_shift,
    "BitwiseNot": lower_not,
    "BitwiseXor": lower_xor,
}
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset()
"""Operators whose lowering is right for int8 tensors too."""
