"""Every operator that can be read, by its name in the schema."""

from __future__ import annotations

from edgekit.frontends.tflite.lowering import Lowering
from edgekit.frontends.tflite.ops import (
    activation,
    convolution,
    dense,
    detection,
    elementwise,
    indexing,
    logic,
    padding,
    pooling,
    quantization,
    recurrent,
    reduction,
    shape,
    slicing,
    space,
)

BUILTIN_OPS: dict[str, Lowering] = {
    **activation.OPS,
    **convolution.OPS,
    **dense.OPS,
    **detection.OPS,
    **elementwise.OPS,
    **indexing.OPS,
    **logic.OPS,
    **padding.OPS,
    **pooling.OPS,
    **quantization.OPS,
    **recurrent.OPS,
    **reduction.OPS,
    **shape.OPS,
    **slicing.OPS,
    **space.OPS,
}
"""Builtin operator → the function that reads it."""
