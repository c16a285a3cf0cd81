"""Which function lowers which ONNX operator: the union of the tables of `ops/`."""

from __future__ import annotations

from edgekit.converters.tflite.lowering import Lower
from edgekit.converters.tflite.ops import elementwise

LOWERINGS: dict[str, Lower] = {
    **elementwise.LOWERINGS,
}
"""ONNX operator type → its lowering."""
