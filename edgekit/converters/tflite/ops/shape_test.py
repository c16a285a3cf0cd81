import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from edgekit.testing.tflite import assert_node_same, assert_same, convert_and_run, model_of

CASES = settings(max_examples=20, deadline=None, derandomize=True)
DTYPES = st.sampled_from(["float32", "int32", "int64", "bool", "int8"])
HEADER = '<ir_version: 10, opset_import: ["" : 21]> g '


def filled(shape, dtype="float32"):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def ints(*values):
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("target", "dynamic"),
    [
        (ints(0, -1), True),
        (ints(-1), True),
        (ints(-1, 4, 3), True),
        (ints(2, 12), False),
        (ints(4, 0, -1), False),
        (ints(0, 2, 2, 3), True),
    ],
)
def test_reshape_is_one_operator(target, dynamic):
    operands = {"a": filled((2, 3, 4)), "s": target}
    if target[0] == 4:
        operands["a"] = filled((2, 6, 4))
    ops = assert_node_same("Reshape", operands, constants=["s"], dynamic=["a"] if dynamic else [])
    assert ops == ["RESHAPE"]


def test_reshape_keeps_several_dynamic_sizes():
    model = model_of(
        HEADER + "(float[N,M,6] x, int64[4] s) => (float[N,M,2,3] y) { y = Reshape(x, s) }",
        {"s": ints(0, 0, 2, 3)},
    )
    assert_same(model, {"x": filled((4, 5, 6))})


@pytest.mark.parametrize("target", [ints(0, 0, 12), ints(2, -1, 12), ints(0, 2, 6), ints(0, -1, 3)])
def test_reshape_to_a_shape_of_the_runtime(target):
    model = model_of(
        HEADER + "(float[N,M,12] x, int64[3] s) => (float[A,B,C] y) { y = Reshape(x, s) }"
    )
    x = filled((2, 4, 12)) if target[1] == 0 else filled((2, 1, 12))
    assert_same(model, {"x": x, "s": target})


@CASES
@given(array_shapes(max_dims=6, max_side=3), DTYPES, st.data())
def test_transpose(shape, dtype, data):
    perm = data.draw(st.permutations(range(len(shape))))
    ops = assert_node_same("Transpose", {"a": filled(shape, dtype)}, perm=list(perm), dynamic=["a"])
    assert ops == (["TRANSPOSE"] if perm != sorted(perm) else ["RESHAPE"])


@CASES
@given(array_shapes(max_dims=5, max_side=3), DTYPES, st.data())
def test_flatten(shape, dtype, data):
    axis = data.draw(st.integers(-len(shape), len(shape)))
    assert_node_same("Flatten", {"a": filled(shape, dtype)}, axis=axis)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_flatten_with_dynamic_sizes(axis):
    model = model_of(
        HEADER + f"(float[N,M,6] x) => (float[A,B] y) {{ y = Flatten<axis={axis}>(x) }}"
    )
    assert_same(model, {"x": filled((4, 5, 6))})


@CASES
@given(array_shapes(max_dims=4, max_side=3), DTYPES, st.data())
def test_unsqueeze_and_squeeze(shape, dtype, data):
    count = data.draw(st.integers(1, 2))
    rank = len(shape) + count
    axes = data.draw(
        st.lists(
            st.integers(-rank, rank - 1),
            min_size=count,
            max_size=count,
            unique_by=lambda a: a % rank,
        )
    )
    operands = {"a": filled(shape, dtype), "axes": ints(*axes)}
    assert assert_node_same("Unsqueeze", operands, constants=["axes"], dynamic=["a"]) == ["RESHAPE"]
    expanded = np.expand_dims(operands["a"], tuple(axes))
    operands = {"a": expanded, "axes": ints(*axes)}
    assert assert_node_same("Squeeze", operands, constants=["axes"]) == ["RESHAPE"]


def test_squeeze_of_all_axes():
    assert_node_same("Squeeze", {"a": filled((1, 3, 1, 2))})


@pytest.mark.parametrize(
    ("op", "shape", "axes", "result", "operators"),
    [
        ("Squeeze", "N,1,M,1", (1, -1), "N,M", ["SQUEEZE"]),
        ("Unsqueeze", "N,3,M,2", (0, -1), "1,N,3,M,2,1", ["EXPAND_DIMS", "EXPAND_DIMS"]),
    ],
)
def test_several_dynamic_sizes(op, shape, axes, result, operators):
    text = f"(float[{shape}] x, int64[2] axes) => (float[{result}] y) {{ y = {op}(x, axes) }}"
    sizes = [{"N": 4, "M": 5}.get(size) or int(size) for size in shape.split(",")]
    assert (
        assert_same(model_of(HEADER + text, {"axes": ints(*axes)}), {"x": filled(sizes)})
        == operators
    )


@pytest.mark.parametrize("op", ["Identity", "Dropout"])
def test_nothing_is_left_inside_of_a_graph(op):
    model = model_of(
        HEADER + f"(float[N,3] x) => (float[N,3] y) {{ a = Relu(x) b = {op}(a) y = Neg(b) }}"
    )
    assert assert_same(model, {"x": filled((2, 3)) - 3}) == ["RELU", "NEG"]


def test_identity_between_input_and_outputs():
    model = model_of(
        HEADER + "(float[N,3] x) => (float[N,3] y, float[N,3] z, float[N,3] r)"
        "{ y = Identity(x) z = Identity(y) r = Relu(z) }"
    )
    assert_same(model, {"x": filled((2, 3)) - 3})


def test_identity_of_a_constant():
    model = model_of(
        HEADER + "(float[N,3] x, float[2] c) => (float[N,3] y, float[2] z)"
        "{ y = Relu(x) z = Identity(c) }",
        {"c": filled(2)},
    )
    assert_same(model, {"x": filled((2, 3))})


def test_dropout_gives_a_mask():
    model = model_of(HEADER + "(float[N,3] x) => (float[N,3] y, bool[N,3] m) { y, m = Dropout(x) }")
    got, _ = convert_and_run(model, {"x": filled((2, 3))})
    assert got["m"].all()
    assert (got["y"] == filled((2, 3))).all()
