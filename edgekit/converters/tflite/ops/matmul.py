"""Products of matrices: FULLY_CONNECTED where the right side is a constant, else BATCH_MATMUL."""

from __future__ import annotations

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Shape, Tensor
from edgekit.converters.tflite.lowering import (
    CannotLower,
    Lower,
    Lowering,
    float_attribute,
    int_attribute,
)
from edgekit.converters.tflite.ops._build import broadcast, emit

_MOST_AXES = 5


def lower_gemm(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Gemm: alpha * A' B' + beta * C."""
    a, b, c = ctx.input(node, 0), ctx.input(node, 1), ctx.optional_input(node, 2)
    out = ctx.output(node)
    if int_attribute(node, "transA", 0):
        a = ctx.transpose(a, (1, 0), "a")
    transposed = bool(int_attribute(node, "transB", 0))
    alpha, beta = float_attribute(node, "alpha", 1.0), float_attribute(node, "beta", 1.0)
    if alpha != 1.0:
        b = _scaled(ctx, b, alpha, "alpha")
    if c is not None and beta != 1.0:
        c = _scaled(ctx, c, beta, "beta")
    columns = out.shape[1]
    bias = _as_bias(ctx, c, columns)
    later = c if bias is None else None
    target = out if later is None else ctx.like(out, out.shape, "product")
    if b.data is not None:
        weights = b if transposed else ctx.transpose(b, (1, 0), "weights")
        fully_connected(ctx, a, weights, bias, target)
    else:
        later = c
        target = out if later is None else ctx.like(out, out.shape, "product")
        _batch_matmul(ctx, a, b, target, transposed=transposed)
    if later is not None:
        emit(ctx, "ADD", [target, later], out)


def _scaled(ctx: Lowering, tensor: Tensor, factor: float, hint: str) -> Tensor:
    if tensor.quantization is not None:
        raise CannotLower(f"{hint} is not 1 in a quantized product")
    if tensor.data is not None:
        return ctx.constant((tensor.data * factor).astype(tensor.dtype), hint)
    scale = ctx.constant(np.array(factor, tensor.dtype), hint + "/value")
    return emit(ctx, "MUL", [tensor, scale])


def _as_bias(ctx: Lowering, c: Tensor | None, columns: int | None) -> Tensor | None:
    """A constant row as the bias of FULLY_CONNECTED; None for anything else."""
    if c is None or c.data is None or columns is None:
        return None
    if c.rank > 1 and any(size != 1 for size in c.shape[:-1]):
        return None
    row = c.data.reshape(-1)
    if row.size == columns:
        return c if c.rank == 1 else ctx.constant(row, "bias", c.quantization)
    if row.size == 1 and c.quantization is None:
        return ctx.constant(np.full(columns, row[0]), "bias")
    return None


def fully_connected(
    ctx: Lowering, x: Tensor, weights: Tensor, bias: Tensor | None, out: Tensor
) -> None:
    """Append a FULLY_CONNECTED.

    Args:
        ctx: the conversion.
        x: [..., inputs].
        weights: constant, [outputs, inputs].
        bias: [outputs], or None.
        out: [..., outputs].
    """
    options = schema.FullyConnectedOptionsT(keepNumDims=x.rank != 2)
    ctx.add("FULLY_CONNECTED", [x, weights, bias], out, options)


def _batch_matmul(
    ctx: Lowering, a: Tensor, b: Tensor, out: Tensor, *, transposed: bool = False
) -> None:
    if max(a.rank, b.rank) > _MOST_AXES:
        raise CannotLower(f"a product of tensors with more than {_MOST_AXES} axes")
    options = schema.BatchMatMulOptionsT(adjX=False, adjY=transposed)
    ctx.add("BATCH_MATMUL", [a, b], out, options)


def lower_matmul(ctx: Lowering, node: onnx_ir.Node) -> None:
    """MatMul of any ranks, NumPy's rules."""
    a, b, out = ctx.input(node, 0), ctx.input(node, 1), ctx.output(node)
    left = ctx.reshape(a, (1, a.shape[0]), "row") if a.rank == 1 else a
    right = _column(ctx, b) if b.rank == 1 else b
    shape = _product_shape(left, right)
    target = out if shape == out.shape or a.rank > 1 < b.rank else ctx.like(out, shape, "product")
    if right.rank == 2 and right.data is not None:
        weights = ctx.transpose(right, (1, 0), "weights")
        fully_connected(ctx, left, weights, None, target)
    else:
        _batch_matmul(ctx, left, right, target)
    if target is not out:
        ctx.reshape(target, out.shape, "squeezed", out)


def _column(ctx: Lowering, vector: Tensor) -> Tensor:
    if vector.data is None:
        return ctx.reshape(vector, (vector.shape[0], 1), "column")
    return ctx.constant(vector.data.reshape(-1, 1), "column", vector.quantization)


def _product_shape(a: Tensor, b: Tensor) -> Shape:
    return (*broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])


def lower_einsum(ctx: Lowering, node: onnx_ir.Node) -> None:
    """What `write_out_einsums` has left."""
    raise CannotLower(
        "an equation with an ellipsis, a repeated letter, or several dynamic sizes",
        "write it as MatMul, or fix the input shapes",
    )


LOWERINGS: dict[str, Lower] = {
    "Einsum": lower_einsum,
    "Gemm": lower_gemm,
    "MatMul": lower_matmul,
}
