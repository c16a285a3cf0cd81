"""Padding of sliding windows, shared by convolutions and pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.model import Shape

SAME, VALID = 0, 1


@dataclass(frozen=True)
class Window:
    """A window that slides over the spatial axes, all in the order of the axes.

    Attributes:
        kernel: sizes.
        strides: steps.
        dilations: distance between the taps.
        padding: `SAME` or `VALID`, as the schema numbers them.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    padding: int

    def __post_init__(self) -> None:
        if min(*self.kernel, *self.strides, *self.dilations) < 1:
            raise ModelFileError(
                f"a window has kernel {self.kernel}, strides {self.strides}, "
                f"dilations {self.dilations}; all must be positive."
            )
        if self.padding not in (SAME, VALID):
            raise ModelFileError(f"a window has the unknown padding {self.padding}.")

    def attributes(self, sizes: Shape) -> dict[str, Any]:
        """ONNX attributes of the window over an input of these spatial sizes.

        Where a size is open, SAME is left to the runtime (`auto_pad`).
        """
        shared: dict[str, Any] = {
            "kernel_shape": list(self.kernel),
            "strides": list(self.strides),
        }
        if any(d != 1 for d in self.dilations):
            shared["dilations"] = list(self.dilations)
        if self.padding == VALID:
            return {**shared, "pads": [0] * 2 * len(self.kernel)}
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            return {**shared, "auto_pad": "SAME_UPPER"}
        totals = [
            max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            for n, k, s, d in zip(known, self.kernel, self.strides, self.dilations, strict=True)
        ]
        before = [total // 2 for total in totals]
        after = [total - b for total, b in zip(totals, before, strict=True)]
        return {**shared, "pads": [*before, *after]}
