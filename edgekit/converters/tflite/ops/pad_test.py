import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from edgekit.errors import UnsupportedError
from edgekit.testing.tflite import assert_node_same, onnxruntime_reference

CASES = settings(max_examples=20, deadline=None, derandomize=True)


def filled(shape, dtype="float32"):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype) + np.array(1, dtype)


@CASES
@given(
    array_shapes(max_dims=5, max_side=4),
    st.sampled_from(["float32", "int32", "int64"]),
    st.sampled_from([None, 0, 2.5, -3]),
    st.data(),
)
def test_constants_around(shape, dtype, value, data):
    pads = data.draw(st.lists(st.integers(0, 2), min_size=2 * len(shape), max_size=2 * len(shape)))
    fill = None if value is None else np.array(value, dtype)
    operands = {"a": filled(shape, dtype), "p": np.array(pads, np.int64), "v": fill}
    ops = assert_node_same("Pad", operands, constants=["p", "v"], dynamic=["a"])
    if any(pads):
        assert ops == ["PADV2" if value else "PAD"]


@CASES
@given(
    st.sampled_from(["reflect", "edge", "wrap"]),
    array_shapes(max_dims=4, min_side=3, max_side=5),
    st.data(),
)
def test_borders_of_inner_elements(mode, shape, data):
    pads = data.draw(st.lists(st.integers(0, 2), min_size=2 * len(shape), max_size=2 * len(shape)))
    operands = {"a": filled(shape), "p": np.array(pads, np.int64)}
    assert_node_same("Pad", operands, constants=["p"], mode=mode)


@CASES
@given(st.sampled_from(["constant", "edge", "reflect"]), st.data())
def test_negative_pads_crop(mode, data):
    pads = data.draw(st.lists(st.integers(-2, 2), min_size=4, max_size=4))
    operands = {"a": filled((5, 6)), "p": np.array(pads, np.int64)}
    assert_node_same("Pad", operands, constants=["p"], mode=mode, against=onnxruntime_reference)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_some_axes(mode):
    operands = {
        "a": filled((2, 4, 5)),
        "p": np.array([1, 2, 0, 1], np.int64),
        "v": None,
        "axes": np.array([-1, 1], np.int64),
    }
    ops = assert_node_same("Pad", operands, constants=["p", "axes"], mode=mode, dynamic=["a"])
    expected = {"constant": ["PAD"], "reflect": ["MIRROR_PAD"]}
    assert ops == expected.get(mode, ["GATHER", "GATHER"])


@pytest.mark.parametrize("pads", [[1, 0, 0, 2], [2, 1, 1, 1], [0, 0, 3, 0]])
def test_edges_of_a_dynamic_axis(pads):
    operands = {"a": filled((3, 4)), "p": np.array(pads, np.int64)}
    assert_node_same("Pad", operands, constants=["p"], mode="edge", dynamic=["a"])


@pytest.mark.parametrize("value", [None, 2.5])
def test_seven_axes(value):
    pads = [0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 0]
    operands = {
        "a": filled((2, 1, 2, 3, 1, 2, 2)),
        "p": np.array(pads, np.int64),
        "v": None if value is None else np.array(value, "f"),
    }
    ops = assert_node_same("Pad", operands, constants=["p", "v"], dynamic=["a"])
    assert ops == ["RESHAPE", "PAD" if value is None else "PADV2", "RESHAPE"]


def test_a_value_of_the_runtime():
    operands = {"a": filled((2, 3)), "p": np.array([0, 1, 1, 0], np.int64), "v": np.array(7, "f")}
    assert assert_node_same("Pad", operands, constants=["p"]) == ["PADV2"]


def test_padding_of_the_runtime_is_refused():
    operands = {"a": filled((2, 3)), "p": np.array([0, 1, 1, 0], np.int64)}
    with pytest.raises(UnsupportedError):
        assert_node_same("Pad", operands)
