import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from edgekit.testing.tflite import assert_node_same, assert_same, model_of, onnxruntime_reference

CASES = settings(max_examples=25, deadline=None, derandomize=True)
DTYPES = st.sampled_from(["float32", "int64", "bool", "int8"])
INDEX = st.sampled_from(["int32", "int64"])


def filled(shape, dtype="float32"):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def picks(seed, size, shape, dtype="int64"):
    return np.random.default_rng(seed).integers(-size, size, shape).astype(dtype)


@CASES
@given(array_shapes(max_dims=4, max_side=4), array_shapes(min_dims=0, max_dims=3, max_side=3),
       DTYPES, INDEX, st.booleans(), st.data())  # fmt: skip
def test_gather(shape, count, dtype, index, constant, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    indices = picks(data.draw(st.integers(0, 99)), shape[axis], count, index)
    operands = {"a": filled(shape, dtype), "i": np.asarray(indices, index)}
    ops = assert_node_same("Gather", operands, axis=axis, constants=["i"] if constant else [])
    assert ops == (["GATHER"] if constant else ["FLOOR_MOD", "GATHER"])


@pytest.mark.parametrize(("finder", "builtin"), [("ArgMax", "ARG_MAX"), ("ArgMin", "ARG_MIN")])
def test_found_positions_are_used_as_they_are(finder, builtin):
    model = model_of(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N,3] x, float[3,2] t) => (float[N,2] y)'
        f"{{ i = {finder}<axis=1, keepdims=0>(x) y = Gather(t, i) }}"
    )
    feeds = {"x": filled((4, 3)), "t": filled((3, 2))}
    assert assert_same(model, feeds) == [
        {"ArgMax": "ARG_MAX", "ArgMin": "ARG_MIN"}[finder],
        "GATHER",
    ]


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("index", [[0, 1], [-1, 0]])
def test_gather_along_a_dynamic_axis(constant, index):
    operands = {"a": filled((4, 3)), "i": np.array(index, np.int64)}
    assert_node_same("Gather", operands, axis=0, dynamic=["a"], constants=["i"] * constant)
    operands["i"] = np.array(index[0], np.int64)
    assert_node_same("Gather", operands, axis=0, dynamic=["a"], constants=["i"] * constant)


@CASES
@given(array_shapes(max_dims=4, max_side=4), DTYPES, INDEX, st.booleans(), st.data())
def test_gather_elements(shape, dtype, index, constant, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    count = [data.draw(st.integers(1, size)) for size in shape]
    count[axis] = data.draw(st.integers(1, 5))
    indices = picks(data.draw(st.integers(0, 99)), shape[axis], count, index)
    operands = {"a": filled(shape, dtype), "i": indices}
    # The reference evaluator wants equal sizes along the other axes.
    assert_node_same(
        "GatherElements",
        operands,
        axis=axis,
        constants=["i"] * constant,
        against=onnxruntime_reference,
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_elements_of_a_dynamic_batch(axis):
    operands = {
        "a": filled((4, 3, 5)),
        "i": picks(0, (4, 3, 5)[axis], (4, 2, 5) if axis else (4, 3, 5)),
    }
    assert_node_same(
        "GatherElements", operands, axis=axis, dynamic=["a", "i"], against=onnxruntime_reference
    )


@CASES
@given(array_shapes(min_dims=2, max_dims=4, max_side=4), DTYPES, st.booleans(), st.data())
def test_gather_nd(shape, dtype, constant, data):
    batch = data.draw(st.integers(0, len(shape) - 1))
    depth = data.draw(st.integers(1, len(shape) - batch))
    count = data.draw(array_shapes(max_dims=2, max_side=3))
    seed = data.draw(st.integers(0, 99))
    columns = [
        picks(seed + axis, shape[axis], (*shape[:batch], *count))
        for axis in range(batch, batch + depth)
    ]
    operands = {"a": filled(shape, dtype), "i": np.stack(columns, -1)}
    assert_node_same("GatherND", operands, batch_dims=batch, constants=["i"] * constant)


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_gather_nd_of_a_dynamic_batch(batch):
    indices = np.stack([picks(i, size, (4, 3)) for i, size in enumerate((4, 3, 5)[batch:])], -1)
    operands = {"a": filled((4, 3, 5)), "i": indices}
    assert_node_same("GatherND", operands, batch_dims=batch, dynamic=["a", "i"])


def test_gather_of_a_shape():
    model = model_of(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N,3] x, int64 i) => (int64 y, int64 z)'
        "{ s = Shape(x) y = Gather(s, i) z = Size(x) }",
        {"i": np.array(0, np.int64)},
    )
    assert_same(model, {"x": filled((4, 3))})
