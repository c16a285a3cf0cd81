import numpy as np
import pytest

from edgekit.ir import Model, Oracle
from edgekit.passes.quantize.io import quantized_io
from edgekit.testing.tflite import model_of


def graph(dtype, zero):
    """Relu between Q/DQ pairs; scale 0.5 at both ends."""
    constant = np.array(zero, dtype)
    return Model(
        model_of(
            '<ir_version: 10, opset_import: ["" : 21]>'
            f"g (float[N, 4] x, float s, {dtype} z) => (float[N, 4] y) {{"
            " a = QuantizeLinear(x, s, z) b = DequantizeLinear(a, s, z) c = Relu(b)"
            " d = QuantizeLinear(c, s, z) y = DequantizeLinear(d, s, z) }",
            {"s": np.float32(0.5), "z": constant},
        )
    )


@pytest.mark.parametrize(("dtype", "zero"), [("int8", 3), ("uint8", 131), ("uint8", 0)])
def test_edges_are_int8_and_mean_the_same(dtype, zero):
    model = graph(dtype, zero)
    integer, edges = quantized_io(model)
    specs = (*integer.signature.inputs, *integer.signature.outputs)
    assert [(s.name, s.dtype) for s in specs] == [("x", "int8"), ("y", "int8")]
    assert set(edges) == {"x", "y"}
    shift = zero - (128 if dtype == "uint8" else 0)
    assert {(e.dtype, e.scale, e.zero_point) for e in edges.values()} == {("int8", 0.5, shift)}
    stored = np.arange(-128, 128, dtype=np.int8).reshape(-1, 4)
    real = (stored.astype("f") - shift) * np.float32(0.5)
    expected = Oracle(model.ir, exact=True).run({"x": real})["y"]
    got = Oracle(integer.ir, exact=True).run({"x": stored})["y"]
    np.testing.assert_array_equal((got.astype("f") - shift) * np.float32(0.5), expected)


def test_the_model_that_was_given_is_left_alone():
    model = graph("uint8", 128)
    quantized_io(model)
    assert [s.dtype for s in model.signature.inputs] == ["float32"]
    assert len(model.graph) == 5


def test_a_float_edge_stays_float():
    model = Model(
        model_of(
            '<ir_version: 10, opset_import: ["" : 21]>'
            "g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"
        )
    )
    integer, edges = quantized_io(model)
    assert edges == {}
    assert integer.signature == model.signature
