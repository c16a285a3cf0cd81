"""A `.tflite` file as typed data: tensors, operators, subgraphs and signatures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int | None, ...]
"""Sizes of a tensor; None where the file leaves a size open."""


@dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantization: real = scale * (stored - zero_point).

    Attributes:
        scale: float32, one entry or one per slice along `axis`.
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


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of a subgraph.

    Attributes:
        index: position in the subgraph.
        name: as the file has it; may be empty, and need not be unique.
        dtype: name in the schema's `TensorType`, such as `FLOAT32`.
        shape: sizes, None where dynamic.
        data: the values of a constant (4-bit values unpacked to int8), else None.
        quantization: how stored integers map to real values.
        variable: whether it keeps its value between invocations.
    """

    index: int
    name: str
    dtype: str
    shape: Shape
    data: NDArray[Any] | None = None
    quantization: Quantization | None = None
    variable: bool = False

    def __str__(self) -> str:
        return f"tensor {self.index} ('{self.name}')"


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator of a subgraph.

    Attributes:
        index: position in the subgraph.
        builtin: name in the schema's `BuiltinOperator`; `CUSTOM` for a custom one.
        custom: name of a custom operator, else empty.
        inputs: tensor indices; -1 for an optional one that is absent.
        outputs: tensor indices.
        options: the schema's `...OptionsT` object, or None when the file has none.
        custom_options: bytes of a custom operator's options.
        pads: explicit spatial padding of a convolution (all befores, then all afters) instead of
            the one in its options; no file has it, rewrites of the graph do.
    """

    index: int
    builtin: str
    custom: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any = None
    custom_options: bytes = b""
    pads: tuple[int, ...] | None = None

    @property
    def kind(self) -> str:
        """The name a user knows it by."""
        return self.custom or self.builtin


@dataclass(frozen=True, eq=False)
class Subgraph:
    """A list of operators over tensors, in execution order."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class SignatureNames:
    """The names that a signature gives to the inputs and outputs of a subgraph.

    Attributes:
        key: of the signature, such as `serving_default`.
        subgraph: index of the subgraph it describes.
        inputs: tensor index → its names, of which there may be several.
        outputs: the same of outputs.
    """

    key: str
    subgraph: int
    inputs: Mapping[int, tuple[str, ...]]
    outputs: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class TFLiteModel:
    """The contents of one file."""

    subgraphs: tuple[Subgraph, ...]
    signatures: tuple[SignatureNames, ...] = ()
    metadata: Mapping[str, bytes] = field(default_factory=dict)
