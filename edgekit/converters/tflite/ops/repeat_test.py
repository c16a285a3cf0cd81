import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

from edgekit.testing.tflite import assert_node_same, assert_same, model_of

CASES = settings(max_examples=25, deadline=None, derandomize=True)
DTYPES = st.sampled_from(["float32", "int32", "int64", "bool", "int8"])
HEADER = '<ir_version: 10, opset_import: ["" : 21]> g '


def filled(shape, dtype="float32"):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


@CASES
@given(mutually_broadcastable_shapes(num_shapes=2, min_dims=1, max_dims=5, max_side=4), DTYPES)
def test_expand(pair, dtype):
    shape, target = pair.input_shapes
    operands = {"a": filled(shape, dtype), "s": np.array(target, np.int64)}
    ops = assert_node_same("Expand", operands, constants=["s"])
    assert ops in (["BROADCAST_TO"], ["RESHAPE"])


def test_expand_of_a_dynamic_batch():
    operands = {"a": filled((4, 1, 3)), "s": np.array([1, 5, 1], np.int64)}
    assert_node_same("Expand", operands, constants=["s"], dynamic=["a"])


def test_expand_to_a_shape_of_the_runtime():
    model = model_of(
        HEADER + "(float[3] x, float[N,M,3] like) => (float[N,M,3] y)"
        "{ s = Shape(like) y = Expand(x, s) }"
    )
    assert_same(model, {"x": filled(3), "like": filled((2, 4, 3))})


@CASES
@given(array_shapes(max_dims=5, max_side=3), DTYPES, st.booleans(), st.data())
def test_tile(shape, dtype, constant, data):
    counts = data.draw(st.lists(st.integers(1, 3), min_size=len(shape), max_size=len(shape)))
    operands = {"a": filled(shape, dtype), "r": np.array(counts, np.int64)}
    ops = assert_node_same(
        "Tile", operands, constants=["r"] * constant, dynamic=["a"] if constant else []
    )
    assert ops[-1] == "TILE"


@pytest.mark.parametrize("constant", [True, False])
def test_tile_is_one_operator(constant):
    operands = {"a": filled((2, 3)), "r": np.array([2, 1], np.int64)}
    ops = assert_node_same("Tile", operands, constants=["r"] * constant)
    assert ops == (["TILE"] if constant else ["CAST", "TILE"])
