import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from edgekit.testing.tflite import assert_node_same

CASES = settings(max_examples=20, deadline=None, derandomize=True)
SEEDS = st.integers(0, 1000)
COMPARISONS = ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]


def whole(seed, shape, dtype="float32"):
    return np.random.default_rng(seed).integers(0, 3, shape).astype(dtype)


@CASES
@given(
    st.sampled_from(COMPARISONS),
    st.sampled_from(["float32", "int32", "int64", "uint8", "int8"]),
    mutually_broadcastable_shapes(num_shapes=2, min_dims=1, max_dims=5, max_side=4),
    SEEDS,
)
def test_comparisons_broadcast(op, dtype, pair, seed):
    first, second = pair.input_shapes
    assert_node_same(op, {"a": whole(seed, first, dtype), "b": whole(seed + 1, second, dtype)})


@CASES
@given(
    st.sampled_from(["And", "Or", "Xor", "Equal"]),
    mutually_broadcastable_shapes(num_shapes=2, min_dims=1, max_dims=5, max_side=4),
    SEEDS,
)
def test_logic_broadcasts(op, pair, seed):
    first, second = pair.input_shapes
    ops = assert_node_same(
        op, {"a": whole(seed, first, "bool"), "b": whole(seed + 1, second, "bool")}
    )
    assert len(ops) == 1


def test_not():
    assert assert_node_same("Not", {"a": whole(0, (3, 4), "bool")}) == ["LOGICAL_NOT"]


@CASES
@given(
    st.sampled_from(["float32", "int32", "int64", "bool", "int8"]),
    mutually_broadcastable_shapes(num_shapes=3, min_dims=1, max_dims=5, max_side=3),
    SEEDS,
)
def test_where_broadcasts(dtype, triple, seed):
    condition, first, second = triple.input_shapes
    operands = {
        "c": whole(seed, condition, "bool"),
        "a": whole(seed + 1, first, dtype),
        "b": whole(seed + 2, second, dtype),
    }
    assert assert_node_same("Where", operands) == ["SELECT_V2"]


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, 3e38, -1.0], np.float32)


def test_is_nan():
    assert assert_node_same("IsNaN", {"a": SPECIAL}) == ["NOT_EQUAL"]


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("negative", [0, 1])
def test_is_inf(positive, negative):
    assert_node_same("IsInf", {"a": SPECIAL}, detect_positive=positive, detect_negative=negative)
