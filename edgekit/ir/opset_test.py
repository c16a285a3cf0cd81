import numpy as np
import pytest

from edgekit.ir import Oracle
from edgekit.ir.opset import written_opset
from edgekit.testing.tflite import model_of


def graph(body, opset=21, inputs="float[1, 4] x", outputs="float[1, 4] y"):
    return model_of(
        f'<ir_version: 10, opset_import: ["" : {opset}]> g ({inputs}) => ({outputs}) {{ {body} }}'
    )


def test_ordinary_graphs_go_one_lower():
    assert written_opset(graph("y = Relu(x)")) == 20
    assert written_opset(graph("y = Relu(x)", opset=18)) == 18
    assert written_opset(graph("y = Relu(x)", opset=23)) == 23


@pytest.mark.parametrize(
    "body",
    [
        "s = Constant <value_float = 1.0> () q = QuantizeLinear <output_dtype = 3> (x, s)"
        " y = DequantizeLinear(q, s)",
        "i = Cast <to = 22> (x) y = Cast <to = 1> (i)",
    ],
)
def test_what_opset_21_brought_keeps_it(body):
    assert written_opset(graph(body)) == 21


def test_group_normalization_keeps_its_opset():
    model = graph(
        "y = GroupNormalization <num_groups = 2> (x, s, s)",
        inputs="float[1, 4, 2] x, float[4] s",
        outputs="float[1, 4, 2] y",
    )
    assert written_opset(model) == 21


def test_moved_dequantization_of_an_int8_input_runs():
    # ONNX Runtime 1.32 refuses its own optimized form of this graph at opset 21.
    model = graph(
        "s = Constant <value_float = 0.5> () z = Constant <value = int8 {3}> ()"
        " d = DequantizeLinear(x, s, z) t = Transpose <perm = [1, 0]> (d) y = Sin(t)",
        inputs="int8[2, 3] x",
        outputs="float[3, 2] y",
    )
    stored = np.arange(6, dtype=np.int8).reshape(2, 3)
    got = Oracle(model).run({"x": stored})["y"]
    np.testing.assert_allclose(got, np.sin((stored.T - 3) * 0.5), atol=1e-6)
