import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from edgekit.errors import UnsupportedError
from edgekit.testing.tflite import assert_node_same, assert_same, model_of

CASES = settings(max_examples=25, deadline=None, derandomize=True)
HEADER = '<ir_version: 10, opset_import: ["" : 21]> g '


def filled(shape, dtype="float32"):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


@CASES
@given(array_shapes(max_dims=5, max_side=4), st.booleans(), st.data())
def test_shape(shape, dynamic, data):
    bounds = st.one_of(st.none(), st.integers(-len(shape) - 1, len(shape) + 1))
    start, end = data.draw(bounds), data.draw(bounds)
    if not shape[slice(start, end)]:
        return
    assert_node_same(
        "Shape", {"a": filled(shape)}, start=start, end=end, dynamic=["a"] if dynamic else []
    )


@pytest.mark.parametrize("dynamic", [[], ["a"]])
def test_size(dynamic):
    assert_node_same("Size", {"a": filled((2, 3, 4))}, dynamic=dynamic)


@pytest.mark.parametrize("constants", [["start", "limit", "delta"], ["start", "delta"], []])
@pytest.mark.parametrize(
    ("dtype", "bounds"),
    [
        ("int64", (1, 10, 3)),
        ("int32", (5, -5, -2)),
        ("float32", (0.0, 1.0, 0.25)),
    ],
)
def test_range(dtype, bounds, constants):
    names = ("start", "limit", "delta")
    operands = {n: np.array(v, dtype) for n, v in zip(names, bounds, strict=True)}
    assert_node_same("Range", operands, constants=constants)


@pytest.mark.parametrize("constants", [["s"], []])
@pytest.mark.parametrize(
    "value", [None, np.array([7], np.int64), np.array([2.5], np.float32), np.array([True])]
)
def test_constant_of_shape(value, constants):
    tensor = None if value is None else onnx.numpy_helper.from_array(value)
    operands = {"s": np.array([2, 3], np.int64)}
    assert_node_same("ConstantOfShape", operands, constants=constants, value=tensor)


@CASES
@given(
    array_shapes(min_dims=2, max_dims=4, max_side=5),
    st.sampled_from(["float32", "int32", "int64", "bool"]),
    st.integers(0, 1),
    st.integers(-4, 4),
    st.booleans(),
)
def test_trilu(shape, dtype, upper, k, dynamic):
    operands = {"a": filled(shape, dtype), "k": np.array(k, np.int64)}
    ops = assert_node_same(
        "Trilu", operands, constants=["k"], upper=upper, dynamic=["a"] if dynamic else []
    )
    assert ops[-1] == "SELECT_V2"


@pytest.mark.parametrize("dynamic", [[], ["a"]])
@pytest.mark.parametrize("k", [-1, 0, 2])
def test_eye_like(k, dynamic):
    assert_node_same("EyeLike", {"a": filled((3, 4))}, k=k, dynamic=dynamic)
    assert_node_same("EyeLike", {"a": filled((3, 4))}, k=k, dtype=onnx.TensorProto.INT64)


@CASES
@given(
    array_shapes(max_dims=3, max_side=4),
    st.sampled_from(["int32", "int64", "float32"]),
    st.sampled_from(["float32", "int64"]),
    st.booleans(),
    st.data(),
)
def test_one_hot(shape, index, dtype, constant, data):
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    indices = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-5, 5, shape)
    operands = {
        "i": np.asarray(indices, index),
        "d": np.array(5, np.int64),
        "v": np.array([2, 7], dtype),
    }
    assert_node_same(
        "OneHot", operands, axis=axis, constants=["i", "d", "v"] if constant else ["d"]
    )


def test_one_hot_of_bool():
    operands = {"i": np.array([0, -1, 9]), "d": np.array(3), "v": np.array([False, True])}
    expected = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0]], np.bool_)
    # The reference evaluator subtracts the values.
    assert_node_same("OneHot", operands, constants=["d", "v"], against=lambda m, f: {"y": expected})


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "int32"])
def test_non_zero(dtype):
    x = (filled((3, 4)) % 3).astype(dtype)
    assert assert_node_same("NonZero", {"a": x}) == ["WHERE", "TRANSPOSE"]


def test_shape_arithmetic_folds_inside_of_a_graph():
    model = model_of(
        HEADER + "(float[2,3] x) => (float[6] y) { s = Size(x) t = Shape(x) "
        "n = ReduceProd<keepdims=1>(t) y = Reshape(x, n) }"
    )
    assert_same(model, {"x": filled((2, 3))})


@pytest.mark.parametrize("op", ["Unique", "Compress", "RandomNormalLike", "Det", "BitwiseAnd"])
def test_reasons(op):
    operands = {"a": filled((3, 3))}
    if op == "BitwiseAnd":
        operands = {"a": filled(3, "int32"), "b": filled(3, "int32")}
    if op == "Compress":
        operands["c"] = np.array([True, False, True])
    with pytest.raises(UnsupportedError) as caught:
        assert_node_same(op, operands)
    reason = caught.value.reasons[0]
    assert reason.op == op
    assert reason.hint
