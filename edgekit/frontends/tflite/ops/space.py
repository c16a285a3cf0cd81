"""Operators that trade space for depth or batch, and those that change the resolution."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import onnx_ir

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.lowering import CannotRead, Lowering, OpContext


def _depth_and_space(kind: str, options: str, op: OpContext) -> None:
    block = int(op.options(options).blockSize)
    if block < 1:
        raise ModelFileError(f"{op.operator.kind} has blocks of {block}.")
    mode = "DCR" if kind == "DepthToSpace" else None
    y = op.op(kind, op.channels_first(op.real(0)), blocksize=block, mode=mode)
    op.emit(op.channels_last(y))


def _space_to_batch(op: OpContext) -> None:
    """Pad, cut each spatial axis into blocks, and bring the blocks in front of the batch."""
    blocks = _blocks(op)
    pads = np.array(op.integers(2, "padding"), np.int64).reshape(-1, 2)
    sizes, spatial = op.shape(0), len(blocks)
    padded = [n + int(p.sum()) for n, p in zip(_fixed(op, spatial), pads, strict=True)]
    if any(n % b for n, b in zip(padded, blocks, strict=True)):
        raise ModelFileError(f"SPACE_TO_BATCH_ND cuts {padded} into blocks of {list(blocks)}.")
    x = op.real(0)
    if pads.any():
        rows = np.zeros((len(sizes), 2), np.int64)
        rows[1 : spatial + 1] = pads
        flat = op.builder.constant(np.ascontiguousarray(rows.T).reshape(-1))
        x = op.op("Pad", x, flat, op.number(0.0), mode="constant")
    rest = _rest(op, spatial)
    cut = [v for n, b in zip(padded, blocks, strict=True) for v in (n // b, b)]
    x = op.op("Reshape", x, op.int64(-1, *cut, *rest))
    last = range(2 * spatial + 1, 2 * spatial + 1 + len(rest))
    inner = range(2, 2 * spatial + 1, 2)
    x = op.transpose(x, (*inner, 0, *range(1, 2 * spatial, 2), *last))
    coarse = [n // b for n, b in zip(padded, blocks, strict=True)]
    op.emit(op.op("Reshape", x, op.int64(-1, *coarse, *rest)))


def _batch_to_space(op: OpContext) -> None:
    """The reverse: blocks go back between the pixels, then the crop is cut away."""
    blocks = _blocks(op)
    crops = np.array(op.integers(2, "crops"), np.int64).reshape(-1, 2)
    spatial = len(blocks)
    coarse, rest = _fixed(op, spatial), _rest(op, spatial)
    x = op.op("Reshape", op.real(0), op.int64(*blocks, -1, *coarse, *rest))
    woven = [axis for i in range(spatial) for axis in (spatial + 1 + i, i)]
    last = range(2 * spatial + 1, 2 * spatial + 1 + len(rest))
    x = op.transpose(x, (spatial, *woven, *last))
    full = [n * b for n, b in zip(coarse, blocks, strict=True)]
    x = op.op("Reshape", x, op.int64(-1, *full, *rest))
    if crops.any():
        starts = crops[:, 0].tolist()
        ends = [n - int(c) for n, c in zip(full, crops[:, 1], strict=True)]
        axes = range(1, spatial + 1)
        x = op.op("Slice", x, op.int64(*starts), op.int64(*ends), op.int64(*axes))
    op.emit(x)


def _blocks(op: OpContext) -> tuple[int, ...]:
    blocks = op.integers(1, "block shape")
    if min(blocks, default=1) < 1 or len(blocks) >= op.rank(0):
        raise ModelFileError(f"{op.operator.kind} has the blocks {blocks}.")
    return blocks


def _fixed(op: OpContext, spatial: int) -> list[int]:
    known = [n for n in op.shape(0)[1 : spatial + 1] if n is not None]
    if len(known) != spatial:
        raise CannotRead("the spatial size of its input is open", "fix the spatial sizes")
    return known


def _rest(op: OpContext, spatial: int) -> list[int]:
    known = [n for n in op.shape(0)[spatial + 1 :] if n is not None]
    if len(known) != op.rank(0) - spatial - 1 or math.prod(known) == 0:
        raise CannotRead("the depth of its input is open", "fix the sizes of the channels")
    return known


def _resize(mode: str, options: str, op: OpContext) -> None:
    """The rounding of the nearest neighbour depends on where the pixel centres are."""
    chosen = op.options(options)
    if chosen.alignCorners and chosen.halfPixelCenters:
        raise ModelFileError(f"{op.operator.kind} both aligns corners and uses half pixels.")
    coordinates = "asymmetric"
    if chosen.alignCorners:
        coordinates = "align_corners"
    elif chosen.halfPixelCenters:
        coordinates = "half_pixel"
    nearest = "floor" if coordinates == "asymmetric" else "round_prefer_ceil"
    x = op.channels_first(op.real(0))
    y = op.op(
        "Resize",
        x,
        *_new_size(op, x),
        mode=mode,
        coordinate_transformation_mode=coordinates,
        nearest_mode=nearest if mode == "nearest" else None,
    )
    op.emit(op.channels_last(y))


def _new_size(op: OpContext, x: onnx_ir.Value) -> tuple[onnx_ir.Value | None, ...]:
    """Operands of Resize after the data: sizes, or factors where the batch is open.

    All four axes are given: ONNX Runtime moves Transposes through Resize as if they always were.
    """
    batch, height, width, channels = op.shape(0)
    wanted = op.constant(1)
    if wanted is None or height is None or width is None:
        lead = op.op("Shape", x, start=0, end=2)
        return None, None, op.op("Concat", lead, op.as_int64(1), axis=0)
    new_height, new_width = (int(n) for n in wanted.reshape(-1))
    if min(height, width, new_height, new_width) < 1:
        raise ModelFileError(f"{op.operator.kind} makes {list(op.shape(0))} into {wanted}.")
    if batch is not None and channels is not None:
        return None, None, op.int64(batch, channels, new_height, new_width)
    factors = [1.0, 1.0, _factor(height, new_height), _factor(width, new_width)]
    return None, op.builder.constant(np.array(factors, np.float32))


def _factor(size: int, wanted: int) -> np.float32:
    """The float32 factor for which the runtimes' floor(size * factor) is the size wanted."""
    factor = np.float32(wanted / size)
    if np.floor(np.float32(size) * factor) < wanted:
        factor = np.nextafter(factor, np.float32(np.inf))
    return factor


OPS: dict[str, Lowering] = {
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "DEPTH_TO_SPACE": partial(_depth_and_space, "DepthToSpace", "DepthToSpaceOptions"),
    "RESIZE_BILINEAR": partial(_resize, "linear", "ResizeBilinearOptions"),
    "RESIZE_NEAREST_NEIGHBOR": partial(_resize, "nearest", "ResizeNearestNeighborOptions"),
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "SPACE_TO_DEPTH": partial(_depth_and_space, "SpaceToDepth", "SpaceToDepthOptions"),
}
