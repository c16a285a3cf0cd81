import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edgekit.passes.quantize.arithmetic import (
    channel_scales,
    dequantize,
    parameters_for,
    quantize,
    widen_for_bias,
)
from edgekit.passes.quantize.rules import QType

KINDS = [
    QType("int8", symmetric=False),
    QType("uint8", symmetric=False),
    QType("int8", symmetric=True),
    QType("int8", symmetric=True, narrow=True, bits=7),
]
FINITE = st.floats(-(2.0**66), 2.0**66, width=32).filter(lambda v: v == 0 or abs(v) > 1e-20)
RANGES = st.tuples(FINITE, FINITE).map(sorted)


def round_trip(values, found, kind):
    scale, zero_point = np.float32(found.scale), np.array(found.zero_point)
    integers = quantize(values, scale, zero_point, None, kind.limits, kind.dtype)
    return integers, dequantize(integers, scale, zero_point, None)


@given(RANGES, st.sampled_from(KINDS), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_values_in_the_range_come_back_within_half_a_step(span, kind, places):
    low, high = min(span[0], 0), max(span[1], 0)
    values = np.array([low + (high - low) * place for place in places])
    found = parameters_for(*span, kind)
    _, back = round_trip(values, found, kind)
    # The ends of an asymmetric range move by up to half a step to make zero exact.
    slack = 0.5 if kind.symmetric else 1.0
    assert np.abs(back - values).max() <= found.scale[0] * slack * (1 + 1e-5)
    inner = values * (1 - 1 / 128)
    _, back = round_trip(inner, found, kind)
    assert np.abs(back - inner).max() <= found.scale[0] * 0.5 * (1 + 1e-5)


@given(RANGES, st.sampled_from(KINDS))
def test_zero_is_exact_and_parameters_are_storable(span, kind):
    found = parameters_for(*span, kind)
    assert round_trip(np.zeros(1), found, kind)[1] == 0
    assert np.float32(found.scale[0]) == found.scale[0] > 0
    bottom, top = kind.limits
    assert bottom <= found.zero_point[0] <= top
    if kind.symmetric:
        assert found.zero_point == (0,)


@given(st.floats(2.0**-60, 1e20), st.sampled_from(KINDS[:2]))
def test_a_range_from_zero_never_reaches_past_its_end(high, kind):
    found = parameters_for(0.0, high, kind)
    assert found.zero_point[0] == kind.limits[0]
    assert np.float32(255) * np.float32(found.scale[0]) <= high * (1 + 1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_range_still_has_a_usable_scale(kind):
    found = parameters_for(0.0, 0.0, kind)
    assert found.scale == (1.0,)
    assert round_trip(np.zeros(3), found, kind)[1].tolist() == [0, 0, 0]


@given(arrays(np.float32, (2, 3, 2), elements=st.floats(-300, 300, width=32)), st.integers(0, 2))
def test_quantize_is_onnx_quantizelinear(values, axis):
    size = values.shape[axis]
    scale, zero = np.float32([0.5, 2, 1])[:size], np.int8([0, -3, 5])[:size]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=axis),
    ]
    inputs = [
        helper.make_tensor_value_info(name, kind, None)
        for name, kind in (
            ("x", TensorProto.FLOAT),
            ("s", TensorProto.FLOAT),
            ("z", TensorProto.INT8),
        )
    ]
    outputs = [
        helper.make_tensor_value_info("q", TensorProto.INT8, None),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    q, y = ReferenceEvaluator(model).run(None, {"x": values, "s": scale, "z": zero})
    integers = quantize(values, scale, zero, axis, (-128, 127), "int8")
    assert np.array_equal(integers, q)
    assert np.array_equal(dequantize(integers, scale, zero, axis), y)


@given(
    arrays(np.float32, (4, 3), elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from([0, 1, None]),
)
def test_weight_scales_hold_the_largest_weight_of_each_channel(weight, axis):
    kind = QType("int8", symmetric=True, narrow=True)
    scale = channel_scales(weight, axis, kind)
    assert scale.shape == (1 if axis is None else weight.shape[axis],)
    assert (scale > 0).all()
    back = dequantize(
        quantize(weight, scale, np.zeros_like(scale), axis, kind.limits, "int8"),
        scale,
        np.zeros_like(scale),
        axis,
    )
    shape = (1, 1) if axis is None else tuple(-1 if i == axis else 1 for i in range(2))
    assert (np.abs(back - weight) <= scale.reshape(shape) * 0.5001).all()


def test_dead_channels_borrow_a_scale():
    kind = QType("int8", symmetric=True, narrow=True)
    weight = np.float32([[0, 0], [1, -127]])
    assert channel_scales(weight, 0, kind).tolist() == [1, 1]
    assert channel_scales(np.zeros((2, 2), np.float32), 0, kind).tolist() == [1, 1]


@given(
    arrays(np.float32, 3, elements=st.floats(2.0**-99, 16, width=32)),
    arrays(np.float32, 3, elements=st.floats(-1e6, 1e6, width=32)),
    st.floats(1e-10, 1e3),
)
def test_widened_scales_let_the_bias_fit_32_bits(scale, bias, input_scale):
    widened = widen_for_bias(scale, bias, input_scale)
    assert (widened >= scale).all()
    integers = np.abs(bias / (np.float32(input_scale) * widened.astype(np.float64)))
    assert (integers <= 2**31 - 1).all()
