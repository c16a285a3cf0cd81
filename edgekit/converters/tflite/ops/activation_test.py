import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from edgekit.testing.tflite import assert_node_same, onnxruntime_reference

CASES = settings(max_examples=20, deadline=None, derandomize=True)
SEEDS = st.integers(0, 1000)
LINE = np.concatenate([np.linspace(-12, 12, 481), [0.0, -0.0, 100, -100, 60, -60]]).astype("f")

ONE_OPERATOR = {
    "Elu": "ELU",
    "HardSwish": "HARD_SWISH",
    "Relu": "RELU",
    "Sigmoid": "LOGISTIC",
    "Tanh": "TANH",
}


def numbers(seed, shape):
    return np.random.default_rng(seed).uniform(-5, 5, shape).astype("f")


@pytest.mark.parametrize("op", sorted(ONE_OPERATOR))
def test_one_operator(op):
    assert assert_node_same(op, {"a": LINE}, dynamic=["a"]) == [ONE_OPERATOR[op]]


@pytest.mark.parametrize(
    "op", ["Celu", "Mish", "Selu", "Softplus", "Softsign", "ThresholdedRelu", "HardSigmoid"]
)
def test_formulas_hold_over_the_line(op):
    # Mish of the reference evaluator overflows from 89 on.
    against = onnxruntime_reference if op == "Mish" else None
    assert_node_same(op, {"a": LINE}, rtol=2e-6, atol=2e-6, against=against)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate):
    ops = assert_node_same("Gelu", {"a": LINE}, approximate=approximate, rtol=1e-5, atol=2e-6)
    assert ops == ["GELU"]


def test_erf_is_within_a_millionth():
    assert_node_same(
        "Erf", {"a": np.append(LINE, [np.inf, -np.inf, 1e30]).astype("f")}, rtol=0, atol=1e-6
    )
    near = np.linspace(-4, 4, 4001, dtype="f")
    assert_node_same("Erf", {"a": near}, rtol=0, atol=6e-7)


@CASES
@given(
    st.sampled_from(["Celu", "Elu", "LeakyRelu", "ThresholdedRelu"]),
    st.floats(0.125, 2.5, width=32),
    array_shapes(max_dims=5, max_side=4),
    SEEDS,
)
def test_alpha(op, alpha, shape, seed):
    assert_node_same(op, {"a": numbers(seed, shape)}, alpha=alpha, dynamic=["a"])


@CASES
@given(st.floats(0.125, 2, width=32), st.floats(0.5, 2, width=32), SEEDS)
def test_two_parameters(alpha, other, seed):
    x = numbers(seed, (3, 5))
    assert_node_same("HardSigmoid", {"a": x}, alpha=alpha, beta=other)
    assert_node_same("Selu", {"a": x}, alpha=alpha, gamma=other)


@pytest.mark.parametrize(("limit", "bias"), [(0.5, 0.0), (1.5, 1.5), (1.0, 2.5)])
def test_shrink(limit, bias):
    assert_node_same("Shrink", {"a": LINE}, lambd=limit, bias=bias, dynamic=["a"])


@pytest.mark.parametrize("slope", [(), (1,), (5,), (3, 1, 1), (3, 4, 5), (1, 3, 1, 1), (4, 1)])
def test_prelu_broadcasts_its_slope(slope):
    operands = {"a": numbers(0, (2, 3, 4, 5)), "b": numbers(1, slope)}
    assert assert_node_same("PRelu", operands, constants=["b"]) == ["PRELU"]


@pytest.mark.parametrize(
    ("low", "high", "operators"),
    [
        (0, 6, ["RELU6"]),
        (-1, 1, ["RELU_N1_TO_1"]),
        (0, 1, ["RELU_0_TO_1"]),
        (0, None, ["RELU"]),
        (0, np.inf, ["RELU"]),
        (None, 2, ["MINIMUM"]),
        (-np.inf, 2, ["MINIMUM"]),
        (-2, None, ["MAXIMUM"]),
        (-0.5, 3, ["MAXIMUM", "MINIMUM"]),
        (None, None, ["RESHAPE"]),
    ],
)
def test_clip(low, high, operators):
    bound = lambda value: None if value is None else np.array(value, np.float32)  # noqa: E731
    operands = {"a": numbers(0, (2, 3)), "b": bound(low), "c": bound(high)}
    assert assert_node_same("Clip", operands, constants=["b", "c"], dynamic=["a"]) == operators


def test_clip_between_bounds_of_the_runtime():
    low, high = np.array(-0.5, "f"), np.array(1.5, "f")
    assert_node_same("Clip", {"a": numbers(0, (2, 3)), "b": low, "c": high})


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_integers(dtype):
    x = np.arange(-9, 9).astype(dtype)
    assert_node_same("Relu", {"a": x})
    bounds = {"b": np.array(0, dtype), "c": np.array(6, dtype)}
    assert_node_same("Clip", {"a": x, **bounds}, constants=["b", "c"])
