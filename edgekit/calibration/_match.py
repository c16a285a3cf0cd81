"""Fits arrays to a model's inputs: names, shapes, lossless casts, finite values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.ir.signature import Dim, Signature, TensorSpec

LABELS = "labels"
"""Name of the optional array with the right answers."""


@dataclass(frozen=True)
class Slot:
    """How one array feeds one input.

    Attributes:
        spec: the input.
        array: name of the array that feeds it.
        whole: whether a sample is a complete input, for inputs without a batch axis. Otherwise
            a sample is one row of the input's first axis.
    """

    spec: TensorSpec
    array: str
    whole: bool

    @property
    def sample_shape(self) -> tuple[Dim, ...]:
        """Shape of one sample."""
        return self.spec.shape if self.whole else self.spec.shape[1:]


def pair_names(names: Sequence[str], signature: Signature, where: str) -> dict[str, str]:
    """Which array feeds which input: input name → array name.

    Raises:
        DataError: if an input has no array, or nothing tells which array is meant.
    """
    wanted = [spec.name for spec in signature.inputs]
    if all(name in names for name in wanted):
        return {name: name for name in wanted}
    data = [name for name in names if name != LABELS]
    if len(wanted) == 1 and len(data) == 1:
        return {wanted[0]: data[0]}
    missing = [name for name in wanted if name not in names]
    raise DataError(
        f"{where} has no array for the input{'s' if len(missing) > 1 else ''} "
        f"{', '.join(map(repr, missing))}; it has {', '.join(map(repr, names)) or 'none'}.",
        hint=f"name the arrays after the model's inputs: {', '.join(map(str, signature.inputs))}",
    )


def fit(spec: TensorSpec, array: str, shape: Sequence[int], where: str) -> Slot:
    """Match the shape of an array, first axis samples, to an input.

    Raises:
        DataError: saying what was expected; it names the axes order when that is the difference.
    """
    rank = len(spec.shape)
    if len(shape) == rank and rank and _agrees(shape[1:], spec.shape[1:]):
        return Slot(spec, array, whole=False)
    if len(shape) == rank + 1 and _agrees(shape[1:], spec.shape):
        return Slot(spec, array, whole=True)
    expected = _shown(("samples", *(spec.shape[1:] if rank else ())))
    raise DataError(
        f"{where}: array '{array}' has shape {_shown(shape)}; "
        f"input '{spec.name}' needs {expected}.",
        hint=_shape_hint(spec, shape),
    )


def common_batch(slots: Sequence[Slot], where: str) -> int | None:
    """Samples per run that the inputs force; None where any number will do.

    Raises:
        DataError: if inputs have first axes of different fixed sizes, so none is a batch axis.
    """
    if any(slot.whole for slot in slots):
        sizes = {1 if slot.whole else slot.spec.shape[0] for slot in slots}
    else:
        sizes = {slot.spec.shape[0] for slot in slots}
    fixed = {size for size in sizes if isinstance(size, int)}
    if len(fixed) > 1:
        raise DataError(
            f"{where}: the inputs' first axes have different sizes "
            f"({', '.join(map(str, sorted(fixed)))}), so they are not a batch axis.",
            hint="give every array one more axis in front: (samples, …the input's whole shape)",
        )
    return fixed.pop() if fixed else None


def cast(values: NDArray[Any], dtype: str, name: str) -> NDArray[Any]:
    """Values as the input's type, provided nothing is lost but float rounding.

    Raises:
        DataError: if a value does not survive the cast, or is not finite.
    """
    target = np.dtype(dtype)
    if values.dtype != target:
        values = _converted(values, target, name)
    if target.kind == "f" and values.size and not np.isfinite((values.min(), values.max())).all():
        raise DataError(
            f"the data for input '{name}' holds NaN or infinite values.",
            hint="remove or repair those samples",
        )
    return np.ascontiguousarray(values)


def _converted(values: NDArray[Any], target: np.dtype[Any], name: str) -> NDArray[Any]:
    kinds = values.dtype.kind + target.kind
    if kinds[0] not in "biuf":
        raise DataError(f"the data for input '{name}' is {values.dtype}, which is not numeric.")
    if np.can_cast(values.dtype, target, "safe"):
        return values.astype(target)
    if kinds == "ff":
        with np.errstate(over="ignore"):
            narrowed = values.astype(target)
        if not np.array_equal(np.isfinite(narrowed), np.isfinite(values)):
            raise DataError(f"the data for input '{name}' overflows {target}.")
        return narrowed
    if kinds in ("if", "uf", "ii", "iu", "ui", "uu"):
        narrowed = values.astype(target)
        if np.array_equal(_wide(narrowed), _wide(values)):
            return narrowed
    raise DataError(
        f"the data for input '{name}' is {values.dtype}; the input is {target}, "
        "and the cast would lose something.",
        hint=_cast_hint(values, target),
    )


def _cast_hint(values: NDArray[Any], target: np.dtype[Any]) -> str:
    if values.dtype.kind == "f" and target.kind in "iu" and target.itemsize <= 2:
        low, high = np.iinfo(target).min, np.iinfo(target).max
        return (
            f"the source itself takes {target}: quantize the data with the scale and zero point "
            f"of its input, clip(round(x / scale) + zero_point, {low}, {high}), and store that "
            f"as {target}; or convert the float model that the source was made from"
        )
    return f"store the array as {target}, scaled the way the model expects it"


def _wide(values: NDArray[Any]) -> NDArray[Any]:
    """Values in a type that compares exactly with any other integer (int64 or uint64 stay)."""
    return values if values.dtype.kind in "iu" else values.astype(np.float64)


def _agrees(shape: Sequence[int], dims: Sequence[Dim]) -> bool:
    return len(shape) == len(dims) and all(
        not isinstance(want, int) or got == want for got, want in zip(shape, dims, strict=True)
    )


def _shown(dims: Sequence[Dim]) -> str:
    return f"({', '.join('?' if d is None else str(d) for d in dims)})"


def _shape_hint(spec: TensorSpec, shape: Sequence[int]) -> str:
    want, got = spec.shape[1:], tuple(shape[1:])
    if len(shape) == len(spec.shape) == 4:
        for source, target, order in (
            ("NCHW", "NHWC", (1, 2, 0)),
            ("NHWC", "NCHW", (2, 0, 1)),
        ):
            if _agrees([got[i] for i in order], want):
                axes = (0, *(i + 1 for i in order))
                return f"the data is {source}, the model takes {target}: transpose it by {axes}"
    if len(got) == len(want) and any(_agrees(p, want) for p in permutations(got)):
        return "the axes of the data are in another order"
    if _agrees(shape, spec.shape[1:]):
        return "the first axis must be the samples: add one with array[None]"
    return "the first axis holds the samples, the others must equal the input's"
