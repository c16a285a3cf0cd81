import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from edgekit.errors import UnsupportedError
from edgekit.testing.tflite import assert_node_same

CASES = settings(max_examples=25, deadline=None, derandomize=True)
DTYPES = st.sampled_from(["float32", "int32", "int64", "bool"])


def filled(shape, dtype="float32"):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def distinct(seed, sizes, count):
    """Distinct index rows over axes of some sizes, half of them counted from the back."""
    rng = np.random.default_rng(seed)
    total = int(np.prod(sizes))
    rows = np.stack(np.unravel_index(rng.permutation(total)[:count], sizes), -1)
    return np.where(rng.integers(0, 2, rows.shape), rows, rows - np.array(sizes)).astype(np.int64)


@CASES
@given(array_shapes(max_dims=4, max_side=4), DTYPES, st.booleans(), st.data())
def test_scatter_nd_overwrites(shape, dtype, constant, data):
    depth = data.draw(st.integers(1, len(shape)))
    count = data.draw(st.integers(1, int(np.prod(shape[:depth]))))
    indices = distinct(data.draw(st.integers(0, 99)), shape[:depth], count)
    updates = (filled((count, *shape[depth:])) * 3 - 7).astype(dtype)
    operands = {"a": filled(shape, dtype), "i": indices, "u": updates}
    assert_node_same("ScatterND", operands, constants=["i"] * constant)
    if dtype != "bool":
        assert_node_same("ScatterND", operands, constants=["i"] * constant, reduction="add")


def test_scatter_nd_adds_duplicates_up():
    operands = {
        "a": filled((4, 2)),
        "i": np.array([[1], [1], [3]], np.int64),
        "u": filled((3, 2)),
    }
    assert_node_same("ScatterND", operands, reduction="add")


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_scatter_nd_into_a_dynamic_batch(depth):
    shape = (4, 3, 2)
    operands = {
        "a": filled(shape),
        "i": distinct(0, shape[:depth], 3),
        "u": filled((3, *shape[depth:])) - 9,
    }
    assert_node_same("ScatterND", operands, dynamic=["a"])
    assert_node_same("ScatterND", operands, dynamic=["i"])


@CASES
@given(array_shapes(max_dims=4, max_side=4), DTYPES, st.booleans(), st.data())
def test_scatter_elements_overwrites(shape, dtype, constant, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    count = [data.draw(st.integers(1, size)) for size in shape]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    indices = np.argsort(rng.random(shape), axis)[tuple(slice(size) for size in count)]
    indices = np.where(rng.integers(0, 2, indices.shape), indices, indices - shape[axis])
    updates = (filled(count) * 3 - 7).astype(dtype)
    operands = {"a": filled(shape, dtype), "i": indices, "u": updates}
    assert_node_same("ScatterElements", operands, axis=axis, constants=["i"] * constant)


@pytest.mark.parametrize("reduction", ["none", "add"])
def test_scatter_elements_into_a_dynamic_batch(reduction):
    operands = {
        "a": filled((4, 3)),
        "i": np.array([[0, -1], [1, 2], [2, 0], [0, 1]], np.int64),
        "u": filled((4, 2)) - 9,
    }
    assert_node_same(
        "ScatterElements", operands, axis=1, reduction=reduction, dynamic=list(operands)
    )


@pytest.mark.parametrize("op", ["ScatterND", "ScatterElements"])
def test_other_reductions_are_refused(op):
    operands = {"a": filled(4), "i": np.array([[1]] if op == "ScatterND" else [1]), "u": filled(1)}
    with pytest.raises(UnsupportedError, match="reduction 'mul'"):
        assert_node_same(op, operands, reduction="mul")
