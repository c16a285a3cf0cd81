"""The custom operator that ends SSD detectors: decode boxes, suppress, keep the best.

Inputs: box encodings (1, anchors, 4) as y, x, height, width relative to the anchors; class
scores (1, anchors, classes + label offset); anchors (anchors, 4) as centre y, x, height, width.
Outputs: boxes (1, n, 4) as y1, x1, y2, x2; classes (1, n); scores (1, n), all filled up with
zeros; and the count (1).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.lowering import CannotRead, OpContext

_DAMAGE = (struct.error, ValueError, IndexError, KeyError, TypeError, RecursionError)


@dataclass(frozen=True)
class _Options:
    """What the operator's flexbuffer says.

    Attributes:
        detections: how many to return.
        classes: how many there are, the background not counted.
        scales: divisors of the encoded y, x, height and width.
        score: lowest score that counts.
        overlap: highest intersection over union of two boxes that stay.
        per_class: suppress within each class instead of across them.
        per_anchor: how many classes one box may have.
    """

    detections: int
    classes: int
    scales: tuple[float, float, float, float]
    score: float
    overlap: float
    per_class: bool
    per_anchor: int


def detection_postprocess(op: OpContext) -> None:
    """Read `TFLite_Detection_PostProcess` as ONNX operators around NonMaxSuppression."""
    options = _read_options(op)
    total = op.shape(1)[-1]
    if total is None or total not in (options.classes, options.classes + 1):
        raise ModelFileError(f"{op.operator.kind} has {total} columns of scores.")
    if not options.per_class and options.per_anchor != 1:
        raise CannotRead(f"one box may have {options.per_anchor} classes")
    boxes = _decoded(op, options.scales)
    scores = op.real(1)
    if total > options.classes:
        scores = op.op("Slice", scores, op.int64(1), op.int64(total), op.int64(2))
    found = (
        _per_class(op, boxes, scores, options)
        if options.per_class
        else _across(op, boxes, scores, options)
    )
    _emit(op, boxes, *found, options.detections)


def _read_options(op: OpContext) -> _Options:
    from flatbuffers import flexbuffers

    try:
        given: dict[str, Any] = flexbuffers.GetRoot(
            bytearray(op.operator.custom_options)
        ).AsMap.Value
        return _Options(
            int(given["max_detections"]),
            int(given["num_classes"]),
            tuple(float(given[f"{axis}_scale"]) for axis in "yxhw"),  # type: ignore[arg-type]
            float(given["nms_score_threshold"]),
            float(given["nms_iou_threshold"]),
            bool(given.get("use_regular_nms", False)),
            int(given["max_classes_per_detection"]),
        )
    except _DAMAGE as e:
        raise ModelFileError(f"the options of {op.operator.kind} are damaged: {e}.") from e


def _decoded(op: OpContext, scales: tuple[float, float, float, float]) -> onnx_ir.Value:
    """Corners of the boxes, (1, anchors, 4)."""
    encoded = op.op("Div", op.real(0), op.builder.constant(np.array(scales, np.float32)))
    halves = op.int64(2, 2)
    shift, growth = op.builder.node("Split", [encoded, halves], 2, axis=2)
    centre, size = op.builder.node("Split", [op.real(2), halves], 2, axis=1)
    middle = op.op("Add", op.op("Mul", shift, size), centre)
    half = op.op("Mul", op.op("Mul", op.op("Exp", growth), size), op.builder.constant(_HALF))
    return op.op("Concat", op.op("Sub", middle, half), op.op("Add", middle, half), axis=2)


_HALF = np.array(0.5, np.float32)

_Found = tuple[onnx_ir.Value, onnx_ir.Value, onnx_ir.Value]
"""Box indices, classes and scores of what was kept, best first, one-dimensional."""


def _across(
    op: OpContext, boxes: onnx_ir.Value, scores: onnx_ir.Value, options: _Options
) -> _Found:
    """The best class of each box competes; ONNX returns one class' boxes best first."""
    best = op.op("ReduceMax", scores, op.int64(2), keepdims=0)
    kept = op.op("Gather", _suppressed(op, boxes, op.op("Unsqueeze", best, op.int64(1)), options),
                 op.builder.constant(np.array(2, np.int64)), axis=1)  # fmt: skip
    classes = op.op("Squeeze", op.op("ArgMax", scores, axis=2, keepdims=0), op.int64(0))
    chosen_scores = op.op("Gather", op.op("Squeeze", best, op.int64(0)), kept, axis=0)
    return kept, op.op("Gather", classes, kept, axis=0), chosen_scores


def _per_class(
    op: OpContext, boxes: onnx_ir.Value, scores: onnx_ir.Value, options: _Options
) -> _Found:
    """Each class is suppressed by itself; the best of all classes are kept."""
    by_class = op.transpose(scores, (0, 2, 1))
    triples = _suppressed(op, boxes, by_class, options)
    values = op.op("GatherND", by_class, triples)
    limit = op.op("Min", op.op("Shape", values), op.int64(options.detections))
    ranked, order = op.builder.node("TopK", [values, limit], 2, axis=0)
    rows = op.op("Gather", triples, order, axis=0)
    columns = [
        op.op("Gather", rows, op.builder.constant(np.array(i, np.int64)), axis=1) for i in (2, 1)
    ]
    return columns[0], columns[1], ranked


def _suppressed(
    op: OpContext, boxes: onnx_ir.Value, scores: onnx_ir.Value, options: _Options
) -> onnx_ir.Value:
    overlap, least = (
        op.builder.constant(np.array([v], np.float32)) for v in (options.overlap, options.score)
    )
    limit = op.int64(options.detections)
    return op.op("NonMaxSuppression", boxes, scores, limit, overlap, least)


def _emit(
    op: OpContext,
    boxes: onnx_ir.Value,
    kept: onnx_ir.Value,
    classes: onnx_ir.Value,
    scores: onnx_ir.Value,
    detections: int,
) -> None:
    rows = op.op("Gather", op.op("Squeeze", boxes, op.int64(0)), kept, axis=0)
    count = op.op("Shape", kept)
    missing = op.op("Sub", op.int64(detections), count)
    zero = op.int64(0)
    tail = op.op("Concat", zero, missing, axis=0)
    tail_rows = op.op("Concat", zero, zero, missing, zero, axis=0)
    first = op.int64(0)
    op.emit(op.op("Unsqueeze", op.op("Pad", rows, tail_rows), first))
    labels = op.op("Pad", op.cast(classes, "FLOAT32"), tail)
    op.emit(op.op("Unsqueeze", labels, first), position=1)
    op.emit(op.op("Unsqueeze", op.op("Pad", scores, tail), first), position=2)
    op.emit(op.cast(count, "FLOAT32"), position=3)
