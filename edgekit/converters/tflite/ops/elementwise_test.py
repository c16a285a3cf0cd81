import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

from edgekit.testing.tflite import (
    assert_node_same,
    convert_and_run,
    node_model,
    onnxruntime_reference,
)

CASES = settings(max_examples=15, deadline=None, derandomize=True)
SEEDS = st.integers(0, 1000)
PAIRS = mutually_broadcastable_shapes(num_shapes=2, min_dims=0, max_dims=5, max_side=4)


def numbers(seed, shape, dtype="float32", low=-4.0, high=4.0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.uniform(low, high, shape).astype(dtype)
    return rng.integers(int(low), int(high) + 1, shape).astype(dtype)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
def test_arithmetic_is_one_operator(op):
    x, y = numbers(0, (2, 3)), numbers(1, 3, low=1)
    assert assert_node_same(op, {"a": x, "b": y}, dynamic=["a"]) == [op.upper()]


@CASES
@given(st.sampled_from(["Add", "Sub", "Mul", "Div", "Max", "Min"]), PAIRS, st.booleans(), SEEDS)
def test_float_arithmetic_broadcasts(op, pair, constant, seed):
    operands = {
        "a": numbers(seed, pair.input_shapes[0]),
        "b": numbers(seed + 1, pair.input_shapes[1], low=1),
    }
    assert_node_same(op, operands, constants=["b"] if constant else [])


@CASES
@given(
    st.sampled_from(["Add", "Sub", "Mul", "Div", "Max", "Min", "Mod"]),
    st.sampled_from(["int32", "int64"]),
    PAIRS,
    SEEDS,
)
def test_integer_arithmetic_broadcasts(op, dtype, pair, seed):
    divisor = numbers(seed + 1, pair.input_shapes[1], dtype, low=1, high=7)
    if op == "Mod":
        divisor = divisor * np.where(np.arange(divisor.size) % 2, -1, 1).reshape(divisor.shape)
    operands = {
        "a": numbers(seed, pair.input_shapes[0], dtype, -20, 20),
        "b": divisor.astype(dtype),
    }
    assert_node_same(op, operands)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize("op", ["Max", "Min", "Mod"])
def test_small_integers_compute_in_int32(op, dtype):
    operands = {"a": numbers(0, (3, 4), dtype, 0, 100), "b": numbers(1, (3, 4), dtype, 1, 9)}
    assert_node_same(op, operands)


def test_integer_division_truncates():
    x = np.array([7, -7, 7, -7], np.int32)
    y = np.array([2, 2, -2, -2], np.int32)
    feeds = {"a": x, "b": y}
    got, _ = convert_and_run(node_model("Div", feeds), feeds)
    assert got["y"].tolist() == [3, -3, -3, 3]
    assert_node_same("Div", feeds)


@CASES
@given(
    st.sampled_from(["Abs", "Neg", "Exp", "Sin", "Cos", "Floor", "Ceil", "Sign", "Reciprocal"]),
    array_shapes(min_dims=0, max_dims=5, max_side=4),
    SEEDS,
)
def test_float_functions(op, shape, seed):
    assert_node_same(op, {"a": numbers(seed, shape)}, dynamic=["a"], rtol=1e-5)


@pytest.mark.parametrize("op", ["Log", "Sqrt"])
def test_functions_of_positive_numbers(op):
    assert assert_node_same(op, {"a": numbers(0, (2, 3), low=0.01)}) == [op.upper()]


@pytest.mark.parametrize("op", ["Abs", "Neg", "Sign"])
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_integer_functions(op, dtype):
    assert_node_same(op, {"a": numbers(0, (2, 3), dtype, -9, 9)})


def test_round_is_half_to_even():
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997, 8388609.0], np.float32)
    assert assert_node_same("Round", {"a": x}, rtol=0, atol=0) == ["ROUND"]


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("op", ["Max", "Mean", "Min", "Sum"])
def test_any_number_of_operands(op, count):
    operands = {f"x{i}": numbers(i, (2, 3) if i != 1 else (4, 1, 3)) for i in range(count)}
    # Mean of the reference evaluator does not broadcast.
    against = onnxruntime_reference if op == "Mean" else None
    assert_node_same(op, operands, dynamic=["x0"] if count == 1 else [], against=against)


@pytest.mark.parametrize(
    ("exponent", "operators"),
    [(2.0, ["SQUARE"]), (0.5, ["SQRT"]), (3.0, ["POW"]), (-1.5, ["POW"])],
)
def test_constant_powers(exponent, operators):
    operands = {"a": numbers(0, (2, 3), low=0.1), "b": np.array(exponent, np.float32)}
    assert assert_node_same("Pow", operands, constants=["b"]) == operators


@pytest.mark.parametrize(("base", "exponent"), [("float32", "int64"), ("int32", "int32")])
def test_powers_of_mixed_types(base, exponent):
    operands = {
        "a": numbers(0, (2, 3), base, -3, 3),
        "b": numbers(1, (3,), exponent, 0, 4),
    }
    assert_node_same("Pow", operands)


@CASES
@given(st.sampled_from(["float32", "int32", "int64", "int8"]), PAIRS, SEEDS)
def test_fmod_has_the_sign_of_the_dividend(dtype, pair, seed):
    signs = np.where(np.arange(256) % 3, 1, -1)
    divisor = numbers(seed + 1, pair.input_shapes[1], dtype, 1, 7)
    divisor = divisor * np.resize(signs, divisor.shape)
    operands = {
        "a": numbers(seed, pair.input_shapes[0], dtype, -20, 20),
        "b": divisor.astype(dtype),
    }
    assert_node_same("Mod", operands, fmod=1)
