import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from edgekit.testing.tflite import assert_node_same, onnxruntime_reference

CASES = settings(max_examples=20, deadline=None, derandomize=True)


@CASES
@given(st.sampled_from(["Softmax", "LogSoftmax"]), array_shapes(max_dims=5, max_side=4), st.data())
def test_any_axis(op, shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.random.default_rng(0).uniform(-5, 5, shape).astype("f")
    ops = assert_node_same(op, {"a": x}, axis=axis, dynamic=["a"])
    assert len(ops) == (1 if axis in (-1, len(shape) - 1) else 3)


@pytest.mark.parametrize("op", ["LogSoftmax", "Softmax"])
@pytest.mark.parametrize("axis", [2, 6])
def test_seven_axes(op, axis):
    x = np.random.default_rng(0).uniform(-5, 5, (2, 1, 2, 3, 1, 2, 2)).astype("f")
    assert_node_same(op, {"a": x}, axis=axis, dynamic=["a"])


@pytest.mark.parametrize(("op", "builtin"), [("Softmax", "SOFTMAX"), ("LogSoftmax", "LOG_SOFTMAX")])
def test_large_logits_do_not_overflow(op, builtin):
    x = np.array([[1000.0, 999.0, -1000.0]], np.float32)
    # LogSoftmax of the reference evaluator takes the logarithm of a zero.
    assert assert_node_same(op, {"a": x}, against=onnxruntime_reference) == [builtin]
