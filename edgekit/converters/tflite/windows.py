"""Arithmetic of sliding windows: what padding an operator asks for, and how TFLite can say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Shape, Tensor
from edgekit.converters.tflite.lowering import (
    CannotLower,
    Lowering,
    int_attribute,
    ints_attribute,
    string_attribute,
)

SAME = "SAME"
VALID = "VALID"


@dataclass(frozen=True)
class Window:
    """A sliding window along one axis.

    Attributes:
        size: of the input; None when dynamic.
        kernel: number of taps.
        stride: step between windows.
        dilation: step between taps.
        before: padding in front.
        after: padding behind.
    """

    size: int | None
    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0

    @property
    def extent(self) -> int:
        """Elements from the first tap to the last."""
        return (self.kernel - 1) * self.dilation + 1

    def positions(self, *, ceil: bool = False) -> int | None:
        """Number of windows; None when dynamic."""
        if self.size is None:
            return None
        room = self.size + self.before + self.after - self.extent
        if room < 0:
            raise CannotLower(f"a window of {self.extent} does not fit the padded input")
        count = room // self.stride + 1
        partial = room % self.stride != 0
        if ceil and partial and count * self.stride < self.size + self.before:
            count += 1
        return count

    def trimmed(self, *, ceil: bool = False) -> Window:
        """The same windows with the least padding behind that they need."""
        count = self.positions(ceil=ceil)
        if count is None or self.size is None:
            return self
        needed = (count - 1) * self.stride + self.extent - self.size - self.before
        return replace(self, after=max(needed, 0))

    def is_valid(self) -> bool:
        """Whether no padding is needed."""
        return self.before == 0 and self.after == 0

    def is_same(self) -> bool:
        """Whether the padding is that of TensorFlow's SAME."""
        if self.size is None:
            total = self.extent - 1
            return (
                self.stride == 1 and self.before == total // 2 and self.after == total - total // 2
            )
        return (self.before, self.after) == same_padding(
            self.size, self.extent, self.stride
        ) and self.positions() == -(-self.size // self.stride)


def same_padding(size: int, extent: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: as many windows as strides fit, the odd element of padding behind."""
    total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def windows_of(
    node: onnx_ir.Node, sizes: Shape, kernel: Sequence[int], *, ceil: bool = False
) -> list[Window]:
    """The windows of a convolution or pool, one for each spatial axis, with trimmed padding.

    Args:
        node: has `strides`, `dilations`, `pads` and `auto_pad`.
        sizes: spatial sizes of its input.
        kernel: number of taps along each.
        ceil: whether windows may stick out behind.
    """
    axes = len(kernel)
    strides = ints_attribute(node, "strides", (1,) * axes) or ()
    dilations = ints_attribute(node, "dilations", (1,) * axes) or ()
    pads = ints_attribute(node, "pads", (0,) * 2 * axes) or ()
    auto = string_attribute(node, "auto_pad", "NOTSET")
    found = []
    for axis in range(axes):
        window = Window(sizes[axis], kernel[axis], strides[axis], dilations[axis])
        if auto.startswith("SAME"):
            window = _auto_same(window, upper=auto == "SAME_UPPER")
        elif auto == "NOTSET":
            window = replace(window, before=pads[axis], after=pads[axis + axes])
        if window.before < 0 or window.after < 0:
            raise CannotLower("negative padding", "slice the input instead")
        found.append(window.trimmed(ceil=ceil))
    return found


def _auto_same(window: Window, *, upper: bool) -> Window:
    size = window.size
    if size is None:
        if window.stride != 1:
            raise CannotLower("auto_pad needs the input's size", "fix the input shapes")
        size = window.extent
    before, after = same_padding(size, window.extent, window.stride)
    return replace(window, before=before if upper else after, after=after if upper else before)


def padding_of(windows: Sequence[Window]) -> str | None:
    """SAME or VALID where one of them says it all, None where padding must be explicit."""
    if all(window.is_valid() for window in windows):
        return VALID
    return SAME if all(window.is_same() for window in windows) else None


def padding_code(name: str) -> int:
    """The schema's number for a padding."""
    return int(getattr(schema.Padding, name))


def pad(ctx: Lowering, x: Tensor, windows: Sequence[Window], fill: float | None = None) -> Tensor:
    """Append an explicit PAD of the spatial axes of a channels-last tensor.

    Args:
        ctx: the conversion.
        x: what to pad.
        windows: one for each spatial axis.
        fill: the value; None stands for zero.
    """
    amounts = [(0, 0), *((w.before, w.after) for w in windows), (0, 0)]
    shape = tuple(
        None if size is None else size + before + after
        for size, (before, after) in zip(x.shape, amounts, strict=True)
    )
    table = ctx.constant(np.array(amounts, np.int32), "pads")
    out = ctx.like(x, shape, "padded")
    if fill is None:
        return ctx.add("PAD", [x, table], out, schema.PadOptionsT())
    if x.quantization is not None:
        value = np.array(np.iinfo(x.dtype).min, x.dtype)
    else:
        value = np.array(fill, x.dtype)
    filler = ctx.constant(value, "fill", x.quantization)
    return ctx.add("PADV2", [x, table, filler], out, schema.PadV2OptionsT())


def ceil_mode(node: onnx_ir.Node) -> bool:
    """Whether windows may stick out behind the padded input."""
    return bool(int_attribute(node, "ceil_mode", 0))
