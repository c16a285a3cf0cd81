import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from edgekit.testing.tflite import assert_node_same, reference

CASES = settings(max_examples=25, deadline=None, derandomize=True)
FLOAT = [
    "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceProd", "ReduceSum", "ReduceSumSquare",
]  # fmt: skip
INTEGER = ["ReduceL1", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"]


def numbers(shape, dtype="float32"):
    rng = np.random.default_rng(0)
    if dtype == "float32":
        return rng.uniform(-2, 2, shape).astype("f")
    return rng.integers(-3, 4, shape).astype(dtype)


@st.composite
def reductions(draw):
    shape = draw(array_shapes(max_dims=5, max_side=4))
    rank = len(shape)
    axes = draw(st.lists(st.integers(-rank, rank - 1), max_size=rank, unique_by=lambda a: a % rank))
    return shape, axes


@CASES
@given(st.sampled_from(FLOAT), reductions(), st.integers(0, 1))
def test_float(op, case, keep):
    shape, axes = case
    operands = {"a": numbers(shape), "axes": np.array(axes, np.int64) if axes else None}
    assert_node_same(op, operands, constants=["axes"], keepdims=keep, dynamic=["a"], rtol=2e-5)


@CASES
@given(
    st.sampled_from(INTEGER), st.sampled_from(["int32", "int64"]), reductions(), st.integers(0, 1)
)
def test_integers(op, dtype, case, keep):
    shape, axes = case
    operands = {"a": numbers(shape, dtype), "axes": np.array(axes, np.int64) if axes else None}

    def of_the_same_type(model, feeds):
        # The reference evaluator widens some sums of int32.
        return {name: y.astype(dtype) for name, y in reference(model, feeds).items()}

    assert_node_same(op, operands, constants=["axes"], keepdims=keep, against=of_the_same_type)


@pytest.mark.parametrize("op", FLOAT)
@pytest.mark.parametrize("noop", [0, 1])
def test_no_axes(op, noop):
    operands = {"a": numbers((2, 3)), "axes": np.zeros(0, np.int64)}
    assert_node_same(op, operands, constants=["axes"], noop_with_empty_axes=noop)


@pytest.mark.parametrize(
    ("op", "builtin"),
    [("ReduceMean", "MEAN"), ("ReduceSum", "SUM"), ("ReduceMax", "REDUCE_MAX"),
     ("ReduceMin", "REDUCE_MIN"), ("ReduceProd", "REDUCE_PROD")],
)  # fmt: skip
def test_one_operator(op, builtin):
    operands = {"a": numbers((2, 3, 4)), "axes": np.array([1, 2], np.int64)}
    assert assert_node_same(op, operands, constants=["axes"], dynamic=["a"]) == [builtin]


@pytest.mark.parametrize("op", FLOAT)
@pytest.mark.parametrize("keep", [0, 1])
def test_seven_axes(op, keep):
    x = numbers((2, 1, 2, 3, 1, 2, 2))
    operands = {"a": x, "axes": np.array([1, 2, -1], np.int64)}
    assert_node_same(op, operands, constants=["axes"], keepdims=keep, dynamic=["a"])


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_bool(op):
    x = np.array([[True, False], [True, True], [False, False]])
    operands = {"a": x, "axes": np.array([1], np.int64)}
    assert len(assert_node_same(op, operands, constants=["axes"])) == 1


def test_log_sum():
    operands = {"a": np.abs(numbers((2, 3, 4))) + 1, "axes": np.array([1], np.int64)}
    assert_node_same("ReduceLogSum", operands, constants=["axes"])


def test_log_sum_exp_does_not_overflow():
    x = np.array([[1000, 999, -np.inf], [-np.inf, -np.inf, -np.inf], [-1000, -1001, 5]], "f")
    operands = {"a": x, "axes": np.array([1], np.int64)}
    expected = np.logaddexp.reduce(x.astype("d"), 1, keepdims=True).astype("f")
    assert_node_same(
        "ReduceLogSumExp",
        operands,
        constants=["axes"],
        against=lambda model, feeds: {"y": expected},
    )
