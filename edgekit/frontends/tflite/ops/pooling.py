"""Pooling over windows of the spatial axes."""

from __future__ import annotations

from functools import partial

import onnx_ir

from edgekit.frontends.tflite.lowering import Lowering, OpContext
from edgekit.frontends.tflite.ops.window import Window


def _pool(kind: str, op: OpContext) -> None:
    y = _pooled(kind, op, op.channels_first(op.real(0)))
    op.emit(op.channels_last(y), op.options("Pool2DOptions").fusedActivationFunction)


def _pooled(kind: str, op: OpContext, x: onnx_ir.Value) -> onnx_ir.Value:
    options = op.options("Pool2DOptions")
    window = Window(
        (options.filterHeight, options.filterWidth),
        (options.strideH, options.strideW),
        (1, 1),
        options.padding,
    )
    return op.op(kind, x, **window.attributes(op.shape(0)[1:3]))


def _l2_pool(op: OpContext) -> None:
    x = op.channels_first(op.real(0))
    y = op.op("Sqrt", _pooled("AveragePool", op, op.op("Mul", x, x)))
    op.emit(op.channels_last(y), op.options("Pool2DOptions").fusedActivationFunction)


OPS: dict[str, Lowering] = {
    "AVERAGE_POOL_2D": partial(_pool, "AveragePool"),
    "L2_POOL_2D": _l2_pool,
    "MAX_POOL_2D": partial(_pool, "MaxPool"),
}
