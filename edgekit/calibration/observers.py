"""Streaming observers: what range of a tensor is worth an integer.

Each takes values batch by batch and keeps a bounded summary. Two observers of the same kind
merge, so that workers can share a calibration set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgekit.calibration.ranges import TensorRange
from edgekit.errors import DataError, UsageError


class Observer(ABC):
    """Base of the observers; it keeps the extremes and the count.

    A subclass fills in `_add` (unless the extremes are all it needs), `_merge` and `_choose`.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self.low = np.inf
        self.high = -np.inf
        self.count = 0

    def update(self, values: NDArray[Any]) -> None:
        """Take one batch, first axis samples.

        Raises:
            DataError: if a value is NaN or infinite.
        """
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DataError("NaN or infinite values")
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.count += values.size
        self._add(values)

    def merge(self, other: Observer) -> None:
        """Take over what another observer of the same kind has seen.

        Raises:
            UsageError: if it is of another kind.
        """
        if type(other) is not type(self):
            raise UsageError(f"a {self.name} observer cannot merge a {other.name} one.")
        if other.count:
            self.low, self.high = min(self.low, other.low), max(self.high, other.high)
            self.count += other.count
            self._merge(other)

    def result(self) -> TensorRange:
        """The range chosen so far.

        Raises:
            DataError: if nothing was seen.
        """
        if not self.count:
            raise DataError("no values were seen")
        low, high = self._choose()
        return TensorRange(
            self.low, self.high, max(low, self.low), min(high, self.high), self.count
        )

    def _add(self, values: NDArray[Any]) -> None:  # noqa: B027 - extremes may be enough
        """Take one finite, non-empty batch."""

    def _merge(self, other: Any) -> None:  # noqa: B027 - extremes may be enough
        """Take over the rest of another observer's state."""

    @abstractmethod
    def _choose(self) -> tuple[float, float]: ...


class MinMax(Observer):
    """The extremes: nothing saturates, and outliers widen the range for everyone."""

    name = "minmax"

    def _choose(self) -> tuple[float, float]:
        return self.low, self.high


class MovingAverage(Observer):
    """The mean over samples of each sample's extremes: one odd sample moves it little.

    All samples weigh the same, so the result does not depend on batch size or on order.
    """

    name = "moving-average"

    def __init__(self) -> None:
        super().__init__()
        self._sums = np.zeros(2)
        self._samples = 0

    def _add(self, values: NDArray[Any]) -> None:
        rows = values.reshape(len(values), -1) if values.ndim else values.reshape(1, 1)
        self._sums += (rows.min(1).sum(dtype=np.float64), rows.max(1).sum(dtype=np.float64))
        self._samples += len(rows)

    def _merge(self, other: MovingAverage) -> None:
        self._sums += other._sums
        self._samples += other._samples

    def _choose(self) -> tuple[float, float]:
        low, high = self._sums / self._samples
        return float(low), float(high)


class Percentile(Observer):
    """The range that leaves a given share of the values out at either end.

    Values fall into bins whose width is a power of two and whose edges are its multiples. When
    the range outgrows the bins, neighbours are joined and the width doubles, which loses nothing
    but resolution: the histogram depends on the values alone, not on batches or their order, and
    merged histograms equal the histogram of everything.

    Args:
        percentile: share in percent that stays inside, above 50 and at most 100.
        bins: most bins kept.
    """

    name = "percentile"

    def __init__(self, percentile: float = 99.99, bins: int = 4096) -> None:
        super().__init__()
        if not 50 < percentile <= 100:
            raise UsageError(f"a percentile lies above 50 and at most at 100, not {percentile}.")
        self.percentile = percentile
        self._bins = bins
        self._exponent: int | None = None
        self._first = 0
        self._counts = np.zeros(0, np.int64)

    def _add(self, values: NDArray[Any]) -> None:
        self._fit(self._exponent_for(self.low, self.high))
        indices = _bin_indices(values, self.width) - np.int32(self._first)
        self._counts += np.bincount(indices, minlength=len(self._counts))

    def _merge(self, other: Percentile) -> None:
        exponent = max(
            self._exponent_for(self.low, self.high),
            other._exponent if other._exponent is not None else _MIN_EXPONENT,
        )
        self._fit(exponent)
        counts, first = _coarser(other._counts, other._first, exponent - (other._exponent or 0))
        start = first - self._first
        self._counts[start : start + len(counts)] += counts

    @property
    def width(self) -> float:
        """Width of a bin."""
        return float(2.0 ** (self._exponent or 0))

    def _exponent_for(self, low: float, high: float) -> int:
        """Smallest width, as a power of two, at which the bins span the range."""
        floor = self._exponent if self._exponent is not None else _MIN_EXPONENT
        reach = max(high - low, max(abs(low), abs(high)) * self._bins * _FINEST)
        exponent = floor if not reach else max(floor, int(np.frexp(reach / self._bins)[1]) - 1)
        while np.floor(high / 2.0**exponent) - np.floor(low / 2.0**exponent) >= self._bins:
            exponent += 1
        return exponent

    def _fit(self, exponent: int) -> None:
        """Bring the histogram to a width and make it span all that was seen."""
        shift = exponent - (exponent if self._exponent is None else self._exponent)
        counts, first = _coarser(self._counts, self._first, shift)
        width = 2.0**exponent
        start, stop = int(np.floor(self.low / width)), int(np.floor(self.high / width)) + 1
        if start != first or stop - start != len(counts):
            wider = np.zeros(stop - start, np.int64)
            wider[first - start : first - start + len(counts)] = counts
            counts = wider
        self._exponent, self._first, self._counts = exponent, start, counts

    def _choose(self) -> tuple[float, float]:
        outside = (1 - self.percentile / 100) * self.count
        below = np.searchsorted(np.cumsum(self._counts), outside, "right")
        above = np.searchsorted(np.cumsum(self._counts[::-1]), outside, "right")
        stop = self._first + len(self._counts) - int(above)
        return (self._first + int(below)) * self.width, stop * self.width


_MIN_EXPONENT = -100
"""Bins never get narrower than 2^-100; anything smaller is zero for every quantizer."""


_FINEST = 2.0**-28
"""Bins never get narrower than this share of the largest magnitude, so that indices fit int32."""


def _bin_indices(values: NDArray[Any], width: float) -> NDArray[np.int32]:
    wide = values.ravel().astype(np.float64 if values.dtype == np.float64 else np.float32)
    scaled = np.multiply(wide, np.asarray(1 / width, wide.dtype))
    indices: NDArray[np.int32] = np.floor(scaled, out=scaled).astype(np.int32)
    return indices


def _coarser(counts: NDArray[np.int64], first: int, shift: int) -> tuple[NDArray[np.int64], int]:
    """Join 2^shift neighbouring bins; edges stay multiples of the width."""
    if not len(counts) or not shift:
        return counts, first
    last = first + len(counts) - 1
    start, stop = first >> shift, (last >> shift) + 1
    joined = np.zeros(stop - start, np.int64)
    np.add.at(joined, (np.arange(first, last + 1) >> shift) - start, counts)
    return joined, start


OBSERVERS: dict[str, type[Observer]] = {
    kind.name: kind for kind in (MinMax, MovingAverage, Percentile)
}
"""Observers by name."""


def make_observer(spec: str) -> Observer:
    """An observer from its name; `percentile:99.9` gives the percentile too.

    Raises:
        UsageError: if there is no such observer.
    """
    name, _, argument = spec.partition(":")
    kind = OBSERVERS.get(name)
    if kind is Percentile and argument:
        try:
            return Percentile(float(argument))
        except ValueError as e:
            raise UsageError(f"'{argument}' in the observer '{spec}' is not a number.") from e
    if kind is None or argument:
        raise UsageError(
            f"there is no observer '{spec}'.",
            hint=f"choose one of {', '.join(OBSERVERS)} or percentile:<share in percent>",
        )
    return kind()
