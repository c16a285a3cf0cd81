import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from edgekit.testing.tflite import assert_node_same

CASES = settings(max_examples=20, deadline=None, derandomize=True)
DTYPES = st.sampled_from(["float32", "int32", "int64", "int8"])


def filled(shape, dtype="float32"):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


@CASES
@given(array_shapes(max_dims=6, max_side=3), DTYPES, st.integers(1, 4), st.data())
def test_concat(shape, dtype, count, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    operands = {}
    for index, size in enumerate(sizes):
        part = list(shape)
        part[axis] = size
        operands[f"x{index}"] = filled(part, dtype)
    ops = assert_node_same(
        "Concat", operands, axis=axis, dynamic=[] if axis % len(shape) == 0 else operands
    )
    assert len(ops) <= (1 if count > 1 else 2)


def test_concat_of_seven_axes():
    shape = (2, 1, 2, 3, 1, 2, 2)
    for axis in (0, 3, 6):
        assert_node_same("Concat", {"a": filled(shape), "b": -filled(shape)}, axis=axis)
        sizes = {"num_outputs": 1} if shape[axis] == 1 else {"num_outputs": 2}
        outputs = sizes["num_outputs"]
        assert_node_same("Split", {"a": filled(shape)}, axis=axis, outputs=outputs, **sizes)


def test_concat_with_a_constant():
    operands = {"a": filled((2, 3)), "b": filled((2, 1))}
    assert assert_node_same("Concat", operands, axis=1, constants=["b"]) == ["CONCATENATION"]


@CASES
@given(array_shapes(max_dims=6, max_side=3), DTYPES, st.data())
def test_split_by_sizes(shape, dtype, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    whole = list(shape)
    whole[axis] = sum(sizes)
    operands = {"a": filled(whole, dtype), "s": np.array(sizes, np.int64)}
    ops = assert_node_same("Split", operands, constants=["s"], axis=axis, outputs=len(sizes))
    if len(sizes) > 1:
        assert ops == (["SPLIT"] if len(set(sizes)) == 1 else ["SPLIT_V"])


@pytest.mark.parametrize("sizes", [[2, 1], [2, 2]])
def test_split_of_a_dynamic_axis(sizes):
    operands = {"a": filled((sum(sizes), 3)), "s": np.array(sizes, np.int64)}
    assert_node_same("Split", operands, constants=["s"], outputs=2, dynamic=["a"])


@pytest.mark.parametrize(("size", "count"), [(6, 3), (7, 3), (7, 4), (4, 1)])
def test_split_into_a_number_of_parts(size, count):
    x = filled((2, size))
    assert_node_same("Split", {"a": x}, axis=-1, num_outputs=count, outputs=count, dynamic=["a"])


def test_split_of_bool():
    assert_node_same("Split", {"a": filled((2, 4), "bool")}, axis=1, num_outputs=2, outputs=2)
