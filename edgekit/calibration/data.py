"""Calibration and evaluation data, streamed: memory does not grow with the number of samples.

What is accepted, everywhere data is asked for:

- an `.npz`: one array per model input, named after it (a single-input model takes any one name),
  first axis = samples, optional `labels`;
- an `.npy`: the only input's array; it is memory-mapped;
- a folder of pictures, with a preprocessing spec; class sub-folders give labels;
- `package.module:function`, or a function in Python: called for every pass over the data, it
  yields dicts (input name → array), each one sample without its batch axis, or a batch with it;
- in Python also an array, a dict of arrays, or a list of such dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekit.calibration._match import Slot, cast, common_batch
from edgekit.calibration._readers import Reader, hash_rows, open_reader
from edgekit.errors import DataError, UsageError
from edgekit.ir.preprocessing import Preprocessing
from edgekit.ir.signature import Signature

DataLike = str | Path | NDArray[Any] | Mapping[str, Any] | Iterable[Any] | Callable[[], Any]
"""What `open_data` takes."""

Batch = dict[str, NDArray[Any]]
"""Arrays by input name, in the inputs' own dtypes."""


class Batches(Protocol):
    """What calibration needs of data; `DataSource` has it."""

    @property
    def count(self) -> int | None:
        """How many samples there are."""

    @property
    def content_hash(self) -> str:
        """SHA-256 of the data."""

    def batches(self, batch_size: int, /) -> Iterator[Batch]:
        """Run through the samples."""

    def samples_in(self, feeds: Batch, /) -> int:
        """How many samples a batch holds."""


class DataSource:
    """Samples that fit a model, in order, as often as wanted.

    Made by `open_data`.

    Attributes:
        signature: the inputs that the batches feed.
        count: how many samples there are; None where only running through them would tell. With
            a fixed batch it is a multiple of it: what is left over is not used.
        labels: the right answers, one per sample, where the data has them.
    """

    def __init__(self, reader: Reader, signature: Signature, samples: int | None) -> None:
        self.signature = signature
        self._reader = reader
        self._slots = {slot.spec.name: slot for slot in reader.slots}
        self._fixed = common_batch(reader.slots, reader.where)
        self._limit = samples
        self.count = self._usable(reader.count)
        labels = reader.labels
        if labels is not None and self.count is not None:
            labels = labels[self._picked(reader.count or 0)][: self.count]
        self.labels: NDArray[Any] | None = labels
        self._orders: Mapping[str, tuple[int, ...]] = {}

    def transposed(self, orders: Mapping[str, tuple[int, ...]]) -> DataSource:
        """The same samples for a model that takes some inputs with other axis orders.

        Args:
            orders: input name → for each axis that the model takes, the axis that the data has.
        """
        view = copy(self)
        view._orders = orders
        return view

    def _arranged(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        order = self._orders.get(name)
        return array if order is None else np.ascontiguousarray(array.transpose(order))

    def batch_size(self, wanted: int) -> int:
        """Samples per run: what is wanted, unless the model's inputs have a fixed batch."""
        return self._fixed or wanted

    def samples_in(self, feeds: Batch) -> int:
        """How many samples a batch of this source holds."""
        slot = next(iter(self._slots.values()))
        return 1 if slot.whole else len(feeds[slot.spec.name])

    def batches(self, batch_size: int = 32) -> Iterator[Batch]:
        """Run through the samples.

        Args:
            batch_size: samples per batch, where the model leaves that open. The last batch may
                be smaller.

        Yields:
            Arrays by input name, of the inputs' dtypes and shapes.

        Raises:
            DataError: if a value is not finite or cannot be cast without loss, or the data
                turns out to be damaged.
        """
        if batch_size < 1:
            raise UsageError(f"a batch has at least one sample, not {batch_size}.")
        size, served = self.batch_size(batch_size), 0
        for rows in _regrouped(self._selected(size), size):
            count = len(next(iter(rows.values())))
            if self._fixed and count < size:
                break
            yield {
                name: self._arranged(name, self._feed(slot, rows[name]))
                for name, slot in self._slots.items()
            }
            served += count
        if not served:
            raise DataError(
                f"{self._reader.where} has fewer samples than one batch of {size}.",
                hint="give at least one whole batch",
            )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the data: of the files, or of the arrays' types, shapes and bytes.

        Of data that does not say how long it is (it may be endless), the samples used are hashed.
        """
        if self._reader.count is None and self._limit is not None:
            return hash_rows(self._selected)
        return self._reader.digest()

    def _feed(self, slot: Slot, rows: NDArray[Any]) -> NDArray[Any]:
        values = rows[0] if slot.whole else rows
        return cast(values, slot.spec.dtype, slot.spec.name)

    def _usable(self, count: int | None) -> int | None:
        if count is None:
            return None
        usable = min(count, self._limit or count)
        batch = self._fixed or 1
        if usable < batch or not usable:
            raise DataError(
                f"{self._reader.where} has {usable} samples, fewer than one batch of {batch}.",
                hint="give at least one whole batch",
            )
        return usable - usable % batch

    def _picked(self, count: int) -> NDArray[np.int64]:
        """Indices of the samples used: evenly spread, so that sorted classes all take part."""
        wanted = min(count, self._limit or count)
        return np.arange(wanted, dtype=np.int64) * count // max(wanted, 1)

    def _selected(self, size: int) -> Iterator[Batch]:
        count, seen = self._reader.count, 0
        picked = None if count is None else self._picked(count)
        if picked is not None and len(picked) < (count or 0) and self._reader.at is not None:
            for start in range(0, len(picked), size):
                yield self._reader.at(picked[start : start + size])
            return
        for rows in self._reader.rows(size):
            length = len(next(iter(rows.values())))
            if picked is not None:
                first, last = np.searchsorted(picked, (seen, seen + length))
                keep = picked[first:last] - seen
                rows = rows if len(keep) == length else {k: v[keep] for k, v in rows.items()}
            elif self._limit is not None:
                rows = {k: v[: self._limit - seen] for k, v in rows.items()}
            yield rows
            seen += length
            if picked is None and self._limit is not None and seen >= self._limit:
                return


def open_data(
    source: DataLike,
    signature: Signature,
    *,
    preprocessing: Preprocessing | None = None,
    samples: int | None = None,
) -> DataSource:
    """Open data and check that it fits a model's inputs.

    Args:
        source: see the top of this module.
        signature: the model's inputs.
        preprocessing: how pictures become the input; needed for a folder of pictures.
        samples: use at most that many, evenly spread over the data (the first ones where its
            length is not known); None uses all.

    Raises:
        DataError: if the data is missing, damaged, empty or does not fit.
        UsageError: if `samples` is not positive or a function cannot be imported.
    """
    if samples is not None and samples < 1:
        raise UsageError(f"the number of samples must be positive, not {samples}.")
    if not signature.inputs:
        raise DataError("the model has no inputs, so there is nothing to feed.")
    return DataSource(open_reader(source, signature, preprocessing), signature, samples)


def _regrouped(blocks: Iterator[Batch], size: int) -> Iterator[Batch]:
    """Blocks of any length as blocks of `size` rows; the last may be shorter."""
    held: Batch | None = None
    for block in blocks:
        if held is not None:
            block = {name: np.concatenate([held[name], rows]) for name, rows in block.items()}
        length, start = len(next(iter(block.values()))), 0
        while length - start >= size:
            yield {name: rows[start : start + size] for name, rows in block.items()}
            start += size
        held = {name: rows[start:] for name, rows in block.items()} if start < length else None
    if held is not None:
        yield held
