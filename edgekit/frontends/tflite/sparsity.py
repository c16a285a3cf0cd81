"""Expands sparse constants (CSR along some dimensions, optionally in blocks) to dense arrays.

The storage is that of TACO (Kjolstad et al. 2017, "The Tensor Algebra Compiler"), as the TFLite
schema describes it: dimensions are visited in `traversal_order`; each is dense, or lists the
positions that are present. Dimensions of blocks come after those of the tensor, and `block_map`
says which tensor dimension each of them divides.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import ModelFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.frontends.tflite.flatbuffer import Table

_INDEX_TYPES = {1: "<i4", 2: "<u2", 3: "u1"}
_LARGEST_GROWTH = 1 << 20
"""Dense elements always allowed, besides 1024 per stored one: a damaged shape must not allocate
all memory."""


def stored_elements(sparsity: Table) -> int:
    """How many elements the buffer of a sparse tensor holds."""
    count = 1
    for level in sparsity.tables(2):
        segments = _index_vector(level, 2)
        if level.scalar(0, "b") == 0:
            count *= level.int32(1)
        else:
            count = int(segments[-1]) if segments.size else 0
    return count


def densify(
    values: NDArray[Any], sizes: tuple[int, ...], sparsity: Table, where: str
) -> NDArray[Any]:
    """The dense array of shape `sizes` that the stored values describe.

    Raises:
        ModelFileError: if the description does not fit the shape.
    """
    order, block_map = sparsity.integers(0), sparsity.integers(1)
    levels = sparsity.tables(2)
    rank = len(sizes)
    if (
        sorted(order) != list(range(rank + len(block_map)))
        or len(levels) != len(order)
        or any(not 0 <= d < rank for d in block_map)
        or math.prod(sizes) > _LARGEST_GROWTH + 1024 * values.size
    ):
        raise ModelFileError(f"{where} has sparsity parameters that do not fit its shape.")
    coordinates = _coordinates(levels, values.size, where)
    blocks = [1] * rank
    for position, dimension in enumerate(block_map):
        blocks[dimension] = levels[order.index(rank + position)].int32(1)
    index = [coordinates[order.index(d)] * blocks[d] for d in range(rank)]
    for position, dimension in enumerate(block_map):
        index[dimension] = index[dimension] + coordinates[order.index(rank + position)]
    dense = np.zeros(sizes, values.dtype)
    dense[tuple(index)] = values
    return dense


def _coordinates(levels: list[Table], count: int, where: str) -> list[NDArray[Any]]:
    """For each level, the coordinate of every stored element."""
    found: list[NDArray[Any]] = []
    parents = np.zeros(1, np.int64)
    for level in levels:
        if level.scalar(0, "b") == 0:
            size = level.int32(1)
            _bound(parents.size * size, count, where)
            owner = np.repeat(np.arange(parents.size), size)
            own = np.tile(np.arange(size), parents.size)
        else:
            segments, indices = _index_vector(level, 2), _index_vector(level, 4)
            lengths = np.diff(segments)
            if lengths.size != parents.size or (lengths < 0).any():
                raise ModelFileError(f"{where} has damaged sparsity segments.")
            _bound(int(lengths.sum()), indices.size, where)
            owner, own = np.repeat(np.arange(parents.size), lengths), indices
        found = [column[owner] for column in found]
        found.append(own)
        parents = owner
    if parents.size != count:
        raise ModelFileError(f"{where} stores {count} elements but describes {parents.size}.")
    return found


def _bound(needed: int, available: int, where: str) -> None:
    if not 0 <= needed <= max(available, 1):
        raise ModelFileError(f"{where} has damaged sparsity parameters.")


def _index_vector(level: Table, slot: int) -> NDArray[Any]:
    """A union of vectors of three integer widths, as int64."""
    dtype = _INDEX_TYPES.get(level.scalar(slot, "B"))
    nested = level.table(slot + 1) if dtype else None
    values = None if nested is None or dtype is None else nested.numbers(0, dtype)
    return np.zeros(0, np.int64) if values is None else values.astype(np.int64)
