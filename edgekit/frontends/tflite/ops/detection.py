"""Choosing boxes: non-maximum suppression and the detection post-processing built on it."""

from __future__ import annotations

import numpy as np
import onnx_ir

from edgekit.frontends.tflite.lowering import CannotRead, Lowering, OpContext


def _suppression(op: OpContext) -> None:
    """Version 4 gives indices and their count; both are padded with zeros to the maximum."""
    chosen, count, limit = _chosen(op)
    op.emit_integers(_padded(op, chosen, limit))
    op.emit_integers(count, op.output_count - 1)


def _soft_suppression(op: OpContext) -> None:
    """Version 5 also gives the scores; they decay only with a sigma, which ONNX lacks."""
    sigma = op.constant(5)
    if sigma is None or float(sigma.reshape(-1)[0]) != 0.0:
        raise CannotRead("it is soft (sigma is not zero), which ONNX cannot express")
    chosen, count, limit = _chosen(op)
    op.emit_integers(_padded(op, chosen, limit))
    op.emit(_padded(op, op.op("Gather", op.real(1), chosen, axis=0), limit), position=1)
    op.emit_integers(count, 2)


def _chosen(op: OpContext) -> tuple[onnx_ir.Value, onnx_ir.Value, onnx_ir.Value]:
    """Indices of the boxes kept, how many, and the maximum, all int64."""
    boxes = op.op("Unsqueeze", op.real(0), op.int64(0))
    scores = op.op("Unsqueeze", op.real(1), op.int64(0, 1))
    limit = op.op("Reshape", op.as_int64(2), op.int64(1))
    thresholds = [op.op("Reshape", op.real(i), op.int64(1)) for i in (3, 4)]
    triples = op.op("NonMaxSuppression", boxes, scores, limit, *thresholds)
    last = op.builder.constant(np.array(2, np.int64))
    chosen = op.op("Gather", triples, last, axis=1)
    count = op.op("Squeeze", op.op("Shape", chosen), op.int64(0))
    return chosen, count, limit


def _padded(op: OpContext, values: onnx_ir.Value, limit: onnx_ir.Value) -> onnx_ir.Value:
    """`values`, filled up with zeros to `limit` entries."""
    missing = op.op("Sub", limit, op.op("Shape", values))
    pads = op.op("Concat", op.int64(0), missing, axis=0)
    return op.op("Pad", values, pads, mode="constant")


OPS: dict[str, Lowering] = {
    "NON_MAX_SUPPRESSION_V4": _suppression,
    "NON_MAX_SUPPRESSION_V5": _soft_suppression,
}
