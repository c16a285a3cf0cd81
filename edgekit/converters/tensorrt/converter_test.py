"""What the converter says of graphs that TensorRT does not take."""

import numpy as np
import pytest

from edgekit.converters.base import EmitOptions
from edgekit.converters.tensorrt.converter import TensorRTConverter
from edgekit.errors import UnsupportedError
from edgekit.ir import Model, Source
from edgekit.testing.tflite import model_of
from edgekit.vocabulary import Precision

TWO_PAIRS = """<ir_version: 10, opset_import: ["" : 21]>
g (float[2,4] x, float s, int8 z) => (float[2,4] y)
{
  a = QuantizeLinear (x, s, z)
  b = DequantizeLinear (a, s, z)
  c = Relu (b)
  d = QuantizeLinear (c, s, z)
  y = DequantizeLinear (d, s, z)
}
"""


def emit(folder, precision, zero_point):
    constants = {"s": np.float32(0.1), "z": np.int8(zero_point)}
    model = Model(model_of(TWO_PAIRS, constants), source=Source("case"))
    return TensorRTConverter(rtx=False).emit(model, folder, EmitOptions(precision))


def test_an_asymmetric_source_is_refused_with_one_reason(tmp_path):
    with pytest.raises(UnsupportedError, match="already quantized asymmetrically") as caught:
        emit(tmp_path, Precision.INT8, 3)
    (reason,) = caught.value.reasons
    assert "4 nodes" in reason.reason
    assert "-p fp32" in reason.hint


@pytest.mark.parametrize(
    ("precision", "zero_point"),
    [(Precision.INT8, 0), (Precision.FP32, 3), (Precision.FP16, 3)],
)
def test_a_quantized_source_is_taken_otherwise(tmp_path, precision, zero_point):
    assert emit(tmp_path, precision, zero_point).path.is_file()
