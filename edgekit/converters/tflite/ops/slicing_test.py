import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from edgekit.testing.tflite import assert_node_same, assert_same, model_of

CASES = settings(max_examples=40, deadline=None, derandomize=True)
BIG = 2**63 - 1
NAMES = ["starts", "ends", "axes", "steps"]


def filled(shape, dtype="float32"):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def positions(size):
    return st.one_of(st.integers(-size - 2, size + 2), st.sampled_from([BIG, -BIG, 2**31 - 1]))


def operands_of(x, bounds):
    columns = zip(*bounds, strict=True)
    return {"a": x, **{n: np.array(c, np.int64) for n, c in zip(NAMES, columns, strict=True)}}


@st.composite
def slices(draw, shape):
    """(start, end, axis, step) of some axes, none of the results empty."""
    found = []
    for axis in draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)):
        size = shape[axis]
        start, end = draw(positions(size)), draw(positions(size))
        step = draw(st.sampled_from([1, 1, 2, -1, -2, 3]))
        if len(range(size)[slice(start, end, step)]):
            found.append((start, end, axis - draw(st.sampled_from([0, len(shape)])), step))
    return found


@CASES
@given(
    array_shapes(max_dims=5, max_side=5), st.sampled_from(["float32", "int64", "bool"]), st.data()
)
def test_constant_bounds(shape, dtype, data):
    bounds = data.draw(slices(shape))
    if not bounds:
        return
    operands = operands_of(filled(shape, dtype), bounds)
    for dynamic in ([], ["a"]):
        ops = assert_node_same("Slice", operands, constants=NAMES, dynamic=dynamic)
        assert ops == ["STRIDED_SLICE"]


@CASES
@given(array_shapes(max_dims=5, max_side=5), st.sampled_from(["int32", "int64"]), st.data())
def test_bounds_of_the_runtime(shape, dtype, data):
    bounds = [bound for bound in data.draw(slices(shape)) if bound[3] > 0]
    if not bounds:
        return
    operands = operands_of(filled(shape), bounds)
    info = np.iinfo(dtype)
    for name in NAMES:
        operands[name] = np.clip(operands[name], info.min, info.max).astype(dtype)
    constants = data.draw(st.sampled_from([["axes", "steps"], ["starts", "axes", "steps"]]))
    assert_node_same("Slice", operands, constants=constants)


def test_nothing_is_left():
    operands = operands_of(filled((2, 5)), [(3, 1, 1, 1)])
    assert_node_same("Slice", operands, constants=NAMES)


def test_axes_and_steps_are_optional():
    operands = {"a": filled((4, 5)), "starts": np.array([1, 1]), "ends": np.array([3, -1])}
    assert_node_same("Slice", operands, constants=NAMES)


def test_last_element_of_a_dynamic_axis():
    text = (
        '<ir_version: 10, opset_import: ["" : 21]> g '
        "(float[N,M,3] x, int64[1] s, int64[1] e, int64[1] a) => (float[N,K,3] y)"
        "{ y = Slice(x, s, e, a) }"
    )
    constants = {"s": np.array([-1]), "e": np.array([BIG]), "a": np.array([1])}
    assert_same(model_of(text, constants), {"x": filled((2, 4, 3))})


@pytest.mark.parametrize("step", [-1, -2])
def test_backwards_over_a_dynamic_axis(step):
    operands = operands_of(filled((5, 2)), [(BIG, -BIG, 0, step)])
    assert_node_same("Slice", operands, constants=NAMES, dynamic=["a"])
