import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from edgekit.testing.tflite import assert_node_same, assert_same, model_of

CASES = settings(max_examples=25, deadline=None, derandomize=True)
SEEDS = st.integers(0, 99)


def ties(seed, shape, dtype="float32"):
    """Few distinct values, so that many are equal."""
    low = 0 if dtype.startswith("u") else -3
    return np.random.default_rng(seed).integers(low, 4, shape).astype(dtype)


@CASES
@given(
    st.sampled_from(["ArgMax", "ArgMin"]),
    array_shapes(max_dims=5, max_side=5),
    st.sampled_from(["float32", "int32", "int64", "int8", "uint8"]),
    st.integers(0, 1),
    st.integers(0, 1),
    SEEDS,
    st.data(),
)
def test_arg(op, shape, dtype, last, keep, seed, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    assert_node_same(
        op,
        {"a": ties(seed, shape, dtype)},
        axis=axis,
        keepdims=keep,
        select_last_index=last,
        dynamic=["a"],
    )


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_hardmax(axis):
    assert_node_same("Hardmax", {"a": ties(0, (3, 4, 5))}, axis=axis, dynamic=["a"])


def test_arg_max_is_one_operator():
    assert assert_node_same("ArgMax", {"a": ties(0, (2, 9))}, axis=-1, keepdims=0) == ["ARG_MAX"]


def test_arg_max_between_dynamic_sizes():
    model = model_of(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N,3,M] x) => (int64[N,1,M] y)'
        "{ y = ArgMax<axis=1>(x) }"
    )
    assert_same(model, {"x": ties(0, (2, 3, 4))})


@CASES
@given(
    array_shapes(max_dims=4, max_side=6),
    st.sampled_from(["float32", "int32", "int64"]),
    st.integers(0, 1),
    SEEDS,
    st.data(),
)
def test_top_k(shape, dtype, largest, seed, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    k = data.draw(st.integers(1, shape[axis]))
    operands = {"a": ties(seed, shape, dtype), "k": np.array([k], np.int64)}
    for constants in (["k"], []):
        assert_node_same(
            "TopK", operands, constants=constants, outputs=2, axis=axis, largest=largest
        )


def test_top_k_is_two_operators():
    operands = {"a": ties(0, (2, 9)), "k": np.array([3], np.int64)}
    ops = assert_node_same("TopK", operands, constants=["k"], outputs=2, dynamic=["a"])
    assert ops == ["TOPK_V2", "CAST"]


def test_smallest_of_the_extremes():
    info = np.iinfo(np.int32)
    operands = {"a": np.array([info.min, 0, info.max, -1], np.int32), "k": np.array([4])}
    assert_node_same("TopK", operands, constants=["k"], outputs=2, largest=0)


@CASES
@given(
    array_shapes(max_dims=5, max_side=4),
    st.sampled_from(["float32", "int32", "int64"]),
    st.integers(0, 1),
    st.integers(0, 1),
    SEEDS,
    st.data(),
)
def test_cum_sum(shape, dtype, exclusive, reverse, seed, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    operands = {"a": ties(seed, shape, dtype), "axis": np.array(axis, np.int64)}
    ops = assert_node_same(
        "CumSum",
        operands,
        constants=["axis"],
        exclusive=exclusive,
        reverse=reverse,
        dynamic=["a"],
    )
    assert ops == ["CUMSUM"]


@pytest.mark.parametrize("time", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
def test_reverse_sequence(time, dtype):
    operands = {
        "a": np.arange(4 * 4 * 3).reshape(4, 4, 3).astype(dtype),
        "n": np.array([1, 4, 2, 3], np.int64),
    }
    ops = assert_node_same("ReverseSequence", operands, time_axis=time, batch_axis=1 - time)
    assert ops == ["REVERSE_SEQUENCE"]
