"""The contract of a model at its edges: names, dtypes, shapes and layouts."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.vocabulary import Layout

Dim = int | str | None
"""A size, the name of a symbolic size, or None where nothing is known."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: the name the source model gives it.
        dtype: NumPy name of the element type, such as `float32`.
        shape: one entry per axis; a string names a symbolic size (a dynamic batch).
        layout: order of the axes of a 4-D image tensor; None for anything else.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...]
    layout: Layout | None = None

    @property
    def dynamic_batch(self) -> bool:
        """Whether the first axis has no fixed size."""
        return bool(self.shape) and not isinstance(self.shape[0], int)

    def __str__(self) -> str:
        dims = ", ".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.name}: {self.dtype}[{dims}]" + (f" {self.layout}" if self.layout else "")


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a model, in the order of its source."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def dynamic_batch(self) -> bool:
        """Whether every input has a first axis without a fixed size."""
        return bool(self.inputs) and all(spec.dynamic_batch for spec in self.inputs)

    @property
    def batch(self) -> int | None:
        """The fixed size of the first axis shared by all inputs; None if dynamic or mixed."""
        sizes = {spec.shape[0] if spec.shape else None for spec in self.inputs}
        only = sizes.pop() if len(sizes) == 1 else None
        return only if isinstance(only, int) else None
