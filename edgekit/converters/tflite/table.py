"""Which function lowers which ONNX operator: the union of the tables of `ops/`."""

from __future__ import annotations

from edgekit.converters.tflite.lowering import Lower
from edgekit.converters.tflite.ops import (
    activation,
    cast,
    conv,
    create,
    elementwise,
    gather,
    join,
    logic,
    matmul,
    order,
    pad,
    pool,
    quantize,
    reduce,
    repeat,
    scatter,
    shape,
    slicing,
    softmax,
    trigonometry,
    unsupported,
)

LOWERINGS: dict[str, Lower] = {
    **activation.LOWERINGS,
    **cast.LOWERINGS,
    **create.LOWERINGS,
    **conv.LOWERINGS,
    **matmul.LOWERINGS,
    **pool.LOWERINGS,
    **elementwise.LOWERINGS,
    **gather.LOWERINGS,
    **join.LOWERINGS,
    **logic.LOWERINGS,
    **order.LOWERINGS,
    **pad.LOWERINGS,
    **quantize.LOWERINGS,
    **reduce.LOWERINGS,
    **repeat.LOWERINGS,
    **scatter.LOWERINGS,
    **shape.LOWERINGS,
    **slicing.LOWERINGS,
    **softmax.LOWERINGS,
    **trigonometry.LOWERINGS,
    **unsupported.LOWERINGS,
}
"""ONNX operator type → its lowering."""
