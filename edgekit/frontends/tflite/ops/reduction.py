"""Operators that take one or more axes away, or run along one."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir

from edgekit.frontends.tflite.lowering import Lowering, OpContext


def _reduce(kind: str, op: OpContext) -> None:
    op.emit(_reduced(kind, op, op.real(0)))


def _reduced(kind: str, op: OpContext, x: onnx_ir.Value) -> onnx_ir.Value:
    """No axes mean no reduction in TFLite, and all of them in ONNX unless told otherwise."""
    axes = op.constant(1)
    none = axes is not None and not axes.size
    if axes is not None:
        positive = [op.axis(int(a), op.rank(0)) for a in axes.reshape(-1)]
        operand = op.builder.constant(np.array(positive, np.int64))
    else:
        operand = op.op("Reshape", op.as_int64(1), op.int64(-1))
    keep = int(bool(op.options("ReducerOptions").keepDims))
    return op.op(kind, x, operand, keepdims=keep, noop_with_empty_axes=1 if none else None)


def _reduce_logical(kind: str, op: OpContext) -> None:
    y = _reduced(kind, op, op.cast(op.raw(0), "INT32"))
    op.emit_raw(op.cast(y, "BOOL"))


def _arg(kind: str, options: str, op: OpContext) -> None:
    op.options(options)
    axis = op.axis(op.integers(1, "axis")[0], op.rank(0))
    op.emit_integers(op.op(kind, op.real(0), axis=axis, keepdims=0))


def _top_k(op: OpContext) -> None:
    count = op.op("Reshape", op.as_int64(1), op.int64(1))
    values, indices = op.builder.node("TopK", [op.real(0), count], 2, axis=-1)
    op.emit(values)
    op.emit_integers(indices, 1)


def _cumsum(op: OpContext) -> None:
    options = op.options("CumsumOptions")
    axis = op.axis(op.integers(1, "axis")[0], op.rank(0))
    operand = op.builder.constant(np.array(axis, np.int64))
    exclusive, reverse = int(bool(options.exclusive)), int(bool(options.reverse))
    op.emit(op.op("CumSum", op.real(0), operand, exclusive=exclusive, reverse=reverse))


OPS: dict[str, Lowering] = {
    "ARG_MAX": partial(_arg, "ArgMax", "ArgMaxOptions"),
    "ARG_MIN": partial(_arg, "ArgMin", "ArgMinOptions"),
    "CUMSUM": _cumsum,
    "MEAN": partial(_reduce, "ReduceMean"),
    "REDUCE_ALL": partial(_reduce_logical, "ReduceMin"),
    "REDUCE_ANY": partial(_reduce_logical, "ReduceMax"),
    "REDUCE_MAX": partial(_reduce, "ReduceMax"),
    "REDUCE_MIN": partial(_reduce, "ReduceMin"),
    "REDUCE_PROD": partial(_reduce, "ReduceProd"),
    "SUM": partial(_reduce, "ReduceSum"),
    "TOPK_V2": _top_k,
}
