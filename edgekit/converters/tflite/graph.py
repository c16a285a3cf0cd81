"""The TFLite dialect: tensors and operators as the flatbuffer has them, with NumPy constants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Shape = tuple[int | None, ...]
"""Sizes of a tensor; None where the size is only known at run time (a dynamic batch)."""


@dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantization of a tensor: real = scale * (stored - zero_point).

    Attributes:
        scale: float32, one entry, or one per slice along `axis`.
        zero_point: int64, of the same length.
        axis: quantized dimension, where there is more than one entry.
    """

    scale: NDArray[Any]
    zero_point: NDArray[Any]
    axis: int = 0

    @property
    def per_axis(self) -> bool:
        """Whether there is one scale per slice."""
        return self.scale.size > 1

    def same_as(self, other: Quantization | None) -> bool:
        """Whether stored values mean the same real values."""
        return (
            other is not None
            and self.scale.shape == other.scale.shape
            and bool((self.scale == other.scale).all())
            and bool((self.zero_point == other.zero_point).all())
            and (not self.per_axis or self.axis == other.axis)
        )


@dataclass(eq=False)
class Tensor:
    """One tensor. Identity is what counts, not equality.

    Attributes:
        name: unique in the subgraph once written.
        dtype: NumPy name of the stored type (`float32`, `int8`, `bool`, ...).
        shape: sizes; None where dynamic.
        data: the values of a constant, of `dtype` and `shape`; None for an activation.
        quantization: how stored integers map to real values.
        variable: whether it keeps its value between invocations.
    """

    name: str
    dtype: str
    shape: Shape
    data: NDArray[Any] | None = None
    quantization: Quantization | None = None
    variable: bool = False

    @property
    def is_constant(self) -> bool:
        """Whether the values are known."""
        return self.data is not None

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)


@dataclass(eq=False)
class Operator:
    """One builtin or custom operator.

    Attributes:
        builtin: name in the schema's `BuiltinOperator`, such as `CONV_2D`.
        inputs: operands; None for an optional one that is absent.
        outputs: results.
        options: the schema's options object (`Conv2DOptionsT`), or None.
        origin: name of the IR node it came from.
        custom_code: name of a custom operator when `builtin` is `CUSTOM`.
        custom_options: its serialized options.
    """

    builtin: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    options: Any = None
    origin: str = ""
    custom_code: str | None = None
    custom_options: bytes | None = None


@dataclass
class Graph:
    """One subgraph with its contract.

    Attributes:
        inputs: (name in the signature, tensor), in order.
        outputs: likewise.
        operators: in execution order.
    """

    name: str
    inputs: list[tuple[str, Tensor]] = field(default_factory=list)
    outputs: list[tuple[str, Tensor]] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
