"""NonMaxSuppression: one NON_MAX_SUPPRESSION_V4 for each image and class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Shape, Tensor
from edgekit.converters.tflite.lowering import (
    CannotLower,
    Lower,
    Lowering,
    constant_of,
    int_attribute,
    operand,
)

MOST_RUNS = 256
"""Images × classes beyond which a file becomes unwieldy."""

_LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class _Limits:
    """Scalars that every run shares: boxes to keep, overlap and score to beat."""

    count: Tensor
    overlap: Tensor
    score: Tensor


def lower_non_max_suppression(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Rows of (image, class, box), each class by falling score."""
    boxes, scores = ctx.input(node, 0), ctx.input(node, 1)
    images, classes = scores.shape[0], scores.shape[1]
    if images is None or classes is None:
        raise CannotLower("a dynamic number of images or classes", "fix the input shapes")
    if images * classes > MOST_RUNS:
        raise CannotLower(
            f"{images} x {classes} images and classes are more than the {MOST_RUNS} runs that fit",
            "suppress after choosing the best class of each box",
        )
    if boxes.dtype != "float32" or scores.dtype != "float32":
        raise CannotLower(f"boxes of {boxes.dtype} and scores of {scores.dtype}", "use float32")
    limits = _limits(ctx, node, boxes.shape[1])
    if int_attribute(node, "center_point_box", 0):
        boxes = _corners(ctx, boxes)
    rows = []
    for image in range(images):
        own = _part(ctx, boxes, (image,), (boxes.shape[1], 4))
        for label in range(classes):
            ranked = _part(ctx, scores, (image, label), (scores.shape[2],))
            rows.append(_row(ctx, _suppress(ctx, own, ranked, limits), image, label))
    _finish(ctx, rows, ctx.output(node))


def _limits(ctx: Lowering, node: onnx_ir.Node, boxes: int | None) -> _Limits:
    most = constant_of(operand(node, 2))
    if most is None and operand(node, 2) is not None:
        raise CannotLower("the number of boxes to keep is computed at run time")
    count = 0 if most is None else int(most.reshape(()))
    if count <= 0:
        raise CannotLower("it keeps no boxes at all", "set max_output_boxes_per_class")
    # "All" is often written as the largest integer; the kernel makes room for as many.
    count = min(count, np.iinfo(np.int32).max if boxes is None else boxes)
    return _Limits(
        ctx.constant(np.array(count, np.int32), "count"),
        _scalar(ctx, node, 3, 0.0, "overlap"),
        _scalar(ctx, node, 4, _LOWEST, "score"),
    )


def _scalar(ctx: Lowering, node: onnx_ir.Node, index: int, absent: float, hint: str) -> Tensor:
    value = operand(node, index)
    if value is None:
        return ctx.constant(np.array(absent, np.float32), hint)
    data = constant_of(value)
    if data is None:
        return ctx.reshape(ctx.tensor(value), (), hint)
    return ctx.constant(data.astype(np.float32).reshape(()), hint)


def _corners(ctx: Lowering, boxes: Tensor) -> Tensor:
    """(x, y, width, height) of centres → (x1, y1, x2, y2); overlaps do not care which axis is x."""
    shape = (*boxes.shape[:2], 2)
    halves = [ctx.temporary("float32", shape, hint) for hint in ("center", "size")]
    axis = ctx.constant(np.array(2, np.int32), "axis")
    ctx.add("SPLIT", [axis, boxes], halves, schema.SplitOptionsT(numSplits=2))
    center, size = halves
    half = ctx.constant(np.array(0.5, np.float32), "half")
    extent = ctx.add(
        "MUL", [size, half], ctx.temporary("float32", shape, "extent"), schema.MulOptionsT()
    )
    ends = [ctx.temporary("float32", shape, hint) for hint in ("low", "high")]
    ctx.add("SUB", [center, extent], ends[0], schema.SubOptionsT())
    ctx.add("ADD", [center, extent], ends[1], schema.AddOptionsT())
    out = ctx.temporary("float32", boxes.shape, "corners")
    return ctx.add("CONCATENATION", ends, out, schema.ConcatenationOptionsT(axis=2))


def _part(ctx: Lowering, tensor: Tensor, index: tuple[int, ...], shape: Shape) -> Tensor:
    """The slice at an index of the first axes, which go away."""
    leading = len(index)
    if all(size == 1 for size in tensor.shape[:leading]):
        return ctx.reshape(tensor, shape, "part")
    begin = np.zeros(tensor.rank, np.int32)
    begin[:leading] = index
    size = np.full(tensor.rank, -1, np.int32)
    size[:leading] = 1
    bounds = [ctx.constant(begin, "begin"), ctx.constant(size, "size")]
    cut = ctx.temporary(tensor.dtype, ((1,) * leading) + tensor.shape[leading:], "cut")
    ctx.add("SLICE", [tensor, *bounds], cut, schema.SliceOptionsT())
    return ctx.reshape(cut, shape, "part")


def _suppress(ctx: Lowering, boxes: Tensor, scores: Tensor, limits: _Limits) -> Tensor:
    """Indices of the boxes that are kept, as many as there are."""
    room = limits.count.data
    most = None if room is None else int(room)
    kept = ctx.temporary("int32", (most,), "kept")
    number = ctx.temporary("int32", (), "number")
    operands = [boxes, scores, limits.count, limits.overlap, limits.score]
    options = schema.NonMaxSuppressionV4OptionsT()
    ctx.add("NON_MAX_SUPPRESSION_V4", operands, [kept, number], options)
    begin = ctx.constant(np.zeros(1, np.int32), "begin")
    size = ctx.reshape(number, (1,), "number/vector")
    out = ctx.temporary("int32", (None,), "indices")
    return ctx.add("SLICE", [kept, begin, size], out, schema.SliceOptionsT())


def _row(ctx: Lowering, indices: Tensor, image: int, label: int) -> Tensor:
    """(image, class, index) for each index: two columns are padded on."""
    column = ctx.reshape(indices, (None, 1), "column")
    for value, hint in ((label, "class"), (image, "image")):
        pads = ctx.constant(np.array([[0, 0], [1, 0]], np.int32), "pads")
        fill = ctx.constant(np.array(value, np.int32), hint)
        out = ctx.temporary("int32", (None, (column.shape[1] or 0) + 1), hint + "/column")
        column = ctx.add("PADV2", [column, pads, fill], out, schema.PadV2OptionsT())
    return column


def _finish(ctx: Lowering, rows: list[Tensor], out: Tensor) -> None:
    joined = rows[0]
    if len(rows) > 1:
        joined = ctx.temporary("int32", (None, 3), "rows")
        ctx.add("CONCATENATION", rows, joined, schema.ConcatenationOptionsT(axis=0))
    options = schema.CastOptionsT(
        inDataType=schema.TensorType.INT32, outDataType=schema.TensorType.INT64
    )
    ctx.add("CAST", [joined], out, options)


LOWERINGS: dict[str, Lower] = {"NonMaxSuppression": lower_non_max_suppression}
