"""How a picture file becomes an input tensor, as data that travels with the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
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
            UsageError: on an unknown key or a value of the wrong kind.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(document) - known)
        if unknown:
            raise UsageError(
                f"preprocessing has unknown keys: {', '.join(unknown)}.",
                hint=f"the keys are {', '.join(sorted(known))}",
            )
        values = dict(document)
        try:
            for key, count in (("resize", 2), ("crop", 2)):
                if values.get(key) is not None:
                    size = tuple(int(v) for v in values[key])
                    if len(size) != count or min(size) < 1:
                        raise ValueError(f"{key} must be [height, width], both positive")
                    values[key] = size
            for key in ("mean", "std"):
                if key in values:
                    entry = values[key]
                    many = entry if isinstance(entry, (list, tuple)) else [entry]
                    values[key] = tuple(float(v) for v in many)
                    if len(values[key]) not in (1, 3):
                        raise ValueError(f"{key} must have one value or three")
            if "std" in values and not all(values["std"]):
                raise ValueError("std must not be zero")
            if "scale" in values:
                values["scale"] = float(values["scale"])
            if "layout" in values:
                values["layout"] = Layout(values["layout"])
            if values.get("color", "rgb") not in ("rgb", "bgr", "gray"):
                raise ValueError("color must be rgb, bgr or gray")
        except (TypeError, ValueError) as e:
            raise UsageError(f"preprocessing is not valid: {e}.") from e
        return cls(**values)
