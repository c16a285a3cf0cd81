"""Which function lowers which ONNX operator: the union of the tables of `ops/`."""

from __future__ import annotations

from edgekit.converters.tflite.lowering import Lower
from edgekit.converters.tflite.ops import (
    activation,
    cast,
    elementwise,
    gather,
    join,
    pad,
    reduce,
    shape,
    slicing,
    softmax,
)

LOWERINGS: dict[str, Lower] = {
    **activation.LOWERINGS,
    **cast.LOWERINGS,
    **elementwise.LOWERINGS,
    **gather.LOWERINGS,
    **join.LOWERINGS,
    **pad.LOWERINGS,
    **reduce.LOWERINGS,
    **shape.LOWERINGS,
    **slicing.LOWERINGS,
    **softmax.LOWERINGS,
}
"""ONNX operator type → its lowering."""
