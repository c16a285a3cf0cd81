"""Tensors with more axes than a kernel takes: neighbouring axes are merged around it."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

from edgekit.converters.tflite.graph import Shape, Tensor
from edgekit.converters.tflite.lowering import Lowering

Groups = tuple[tuple[int, ...], ...]
"""Runs of neighbouring axes, in order, that together are all axes of a tensor."""

_UNLIMITED = 8

KERNEL_RANK: dict[str, int] = {
    "CONCATENATION": 6,
    "MEAN": 6,
    "PAD": 5,
    "PADV2": 5,
    "REDUCE_MAX": 6,
    "REDUCE_MIN": 6,
    "SOFTMAX": 6,
    "SPLIT": 6,
    "SUM": 6,
}
"""Most axes that the kernels of LiteRT take, with its default delegate."""


def too_many_axes(builtin: str, x: Tensor) -> bool:
    """Whether a kernel needs axes to be merged."""
    return x.rank > KERNEL_RANK.get(builtin, _UNLIMITED)


def around(rank: int, apart: Collection[int]) -> Groups:
    """Groups that leave some axes alone and merge the others with their neighbours."""
    keys = [axis if axis in apart else -1 for axis in range(rank)]
    return tuple(tuple(run) for _, run in groupby(range(rank), key=lambda axis: keys[axis]))


def together(rank: int, chosen: Collection[int]) -> Groups:
    """Groups that merge chosen axes with each other, and the others with each other."""
    return tuple(tuple(run) for _, run in groupby(range(rank), key=lambda axis: axis in chosen))


def folded_shape(shape: Shape, groups: Groups) -> Shape:
    """Sizes with one axis per group; unknown where a member is."""
    sizes: list[int | None] = []
    for group in groups:
        size: int | None = 1
        for axis in group:
            member = shape[axis]
            size = None if size is None or member is None else size * member
        sizes.append(size)
    return tuple(sizes)


def folded(ctx: Lowering, x: Tensor, groups: Groups) -> Tensor:
    """A tensor with one axis per group."""
    return ctx.reshape(x, folded_shape(x.shape, groups), "folded")


def like_folded(ctx: Lowering, out: Tensor, groups: Groups) -> Tensor:
    """A new activation in the folded shape of a result."""
    return ctx.like(out, folded_shape(out.shape, groups), "folded")
