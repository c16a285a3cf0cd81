"""Pools on the interpreter against ONNX Runtime and the ONNX reference evaluator."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.errors import UnsupportedError
from edgekit.ir import Oracle
from edgekit.testing.tflite import assert_same, convert_and_run, node_model

CHECKS = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


def noise(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@st.composite
def pools(draw, axes):
    kernel = [draw(st.integers(1, 3)) for _ in range(axes)]
    attributes = {
        "kernel_shape": kernel,
        "strides": [draw(st.integers(1, 3)) for _ in range(axes)],
        "pads": [draw(st.integers(0, k - 1)) for k in kernel * 2],
        "ceil_mode": draw(st.integers(0, 1)),
    }
    sizes = [draw(st.integers(4, 8)) for _ in range(axes)]
    return noise(draw(st.integers(0, 99)), draw(st.integers(1, 2)), 3, *sizes), attributes


def check(op, x, attributes):
    model = node_model(op, {"x": x}, **attributes)
    with Oracle(model, threads=1) as oracle:
        (expected,) = oracle.run({"x": x}).values()
    # ONNX's own shape inference counts windows that lie in the padding only
    if tuple(model.graph.outputs[0].shape.numpy()) != expected.shape:
        return []
    outputs, ops = convert_and_run(model, {"x": x})
    (got,) = outputs.values()
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    return ops


@given(pools(axes=2))
@CHECKS
def test_max_pool_2d(case):
    check("MaxPool", *case)


@given(pools(axes=1))
@CHECKS
def test_max_pool_1d(case):
    check("MaxPool", *case)


@given(pools(axes=2), st.integers(0, 1))
@CHECKS
def test_average_pool_2d(case, counted):
    check("AveragePool", case[0], {**case[1], "count_include_pad": counted})


@given(pools(axes=1), st.integers(0, 1))
@CHECKS
def test_average_pool_1d(case, counted):
    check("AveragePool", case[0], {**case[1], "count_include_pad": counted})


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("rank", [3, 4, 5])
def test_global_pools_are_one_reduction(op, rank):
    x = noise(0, 2, 3, *range(4, 4 + rank - 2))
    ops = check(op, x, {})
    assert "MEAN" in ops or "REDUCE_MAX" in ops


def test_padding_of_same_is_not_an_operator():
    x = noise(0, 1, 2, 8, 8)
    model = node_model("MaxPool", {"x": x}, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
    assert "PADV2" not in assert_same(model, {"x": x})


def test_indices_are_refused_with_a_reason():
    model = node_model("MaxPool", {"x": noise(0, 1, 1, 4, 4)}, outputs=2, kernel_shape=[2, 2])
    with pytest.raises(UnsupportedError, match="indices"):
        convert_and_run(model, {})


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pools_over_volumes_are_refused_by_name(op):
    x = noise(0, 1, 2, 4, 4, 4)
    model = node_model(op, {"x": x}, kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    with pytest.raises(UnsupportedError, match="TFLite has no 3-D pooling"):
        convert_and_run(model, {"x": x})
