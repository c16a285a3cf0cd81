"""How a picture file becomes an input tensor, as data that travels with the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from numbers import Real
from typing import Any, Literal

from edgekit.errors import UsageError
from edgekit.vocabulary import Layout


@dataclass(frozen=True)
class Preprocessing:
    """Steps applied to a decoded picture, in the order of the fields.

    The result is `(pixel * scale - mean) / std`, per channel.

    Attributes:
        resize: (height, width) to resample to (bilinear); None keeps the size.
        crop: (height, width) of the centre cut after resizing; None keeps it all.
        color: channel order of the tensor.
        scale: factor applied to the 0–255 pixel values first.
        mean: per-channel value subtracted after scaling (one value serves all channels).
        std: per-channel divisor after that.
        layout: order of the axes of the tensor.
    """

    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: Layout = Layout.NHWC

    def to_json(self) -> dict[str, Any]:
        """This as a JSON object."""
        return {**asdict(self), "layout": str(self.layout)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Preprocessing:
        """Read and validate a JSON (or YAML) object.

        Raises:
            UsageError: on an unknown key or a value of the wrong kind; it names the key and says
                what is expected.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(str(key) for key in set(document) - known)
        if unknown:
            raise UsageError(
                f"preprocessing has unknown keys: {', '.join(unknown)}.",
                hint=f"the keys are {', '.join(sorted(known))}",
            )
        return cls(**{key: _READERS[key](key, value) for key, value in document.items()})


# One reader per kind of value ---------------------------------------------------------------------


def _size(key: str, value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    given = list(value) if isinstance(value, (list, tuple)) else []
    if len(given) != 2 or not all(_is_whole(v) and v >= 1 for v in given):
        raise _wrong(key, value, "[height, width], two positive whole numbers, or null")
    return int(given[0]), int(given[1])


def _number(key: str, value: Any) -> float:
    if not _is_number(value):
        raise _wrong(key, value, "a number")
    return float(value)


def _channels(key: str, value: Any) -> tuple[float, ...]:
    given = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(given) not in (1, 3) or not all(map(_is_number, given)):
        raise _wrong(key, value, "one number, or a list of three")
    return tuple(float(v) for v in given)


def _divisors(key: str, value: Any) -> tuple[float, ...]:
    numbers = _channels(key, value)
    if not all(numbers):
        raise _wrong(key, value, "one number, or a list of three, none of them zero")
    return numbers


def _color(key: str, value: Any) -> str:
    if value not in _COLORS:
        raise _wrong(key, value, f"one of {', '.join(_COLORS)}")
    return str(value)


def _layout(key: str, value: Any) -> Layout:
    try:
        return Layout(value)
    except ValueError:
        raise _wrong(key, value, f"one of {', '.join(map(str, Layout))}") from None


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number, or a text that is one: YAML reads 1e-3 as a text."""
    if isinstance(value, bool) or not isinstance(value, (str, Real)):
        return False
    try:
        return isfinite(float(value))
    except (ValueError, OverflowError):
        return False


def _is_whole(value: Any) -> bool:
    return isinstance(value, Real) and _is_number(value) and float(value).is_integer()


def _wrong(key: str, value: Any, expected: str) -> UsageError:
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    return UsageError(f"preprocessing: {key} is {shown}.", hint=f"{key} must be {expected}")


_SHOWN = 60
_COLORS = ("rgb", "bgr", "gray")
_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "resize": _size,
    "crop": _size,
    "color": _color,
    "scale": _number,
    "mean": _channels,
    "std": _divisors,
    "layout": _layout,
}
