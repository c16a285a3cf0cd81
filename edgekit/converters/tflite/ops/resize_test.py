"""Resize, DepthToSpace and SpaceToDepth on the interpreter."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from edgekit.converters.tflite.resampling import COORDINATES
from edgekit.errors import UnsupportedError
from edgekit.ir import Oracle
from edgekit.testing.tflite import assert_same, convert_and_run, model_of, node_model

CHECKS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def noise(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def resized(x, *, sizes=None, scales=None, **attributes):
    operands = {"x": x, "roi": None, "scales": None}
    if sizes is None:
        operands["scales"] = np.array(scales, np.float32)
    else:
        operands["sizes"] = np.array(sizes, np.int64)
    constants = [k for k, v in operands.items() if v is not None and k != "x"]
    return node_model("Resize", operands, constants=constants, **attributes)


def check(model, x):
    with Oracle(model, threads=1) as oracle:
        (expected,) = oracle.run({"x": x}).values()
    outputs, ops = convert_and_run(model, {"x": x})
    (got,) = outputs.values()
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    return ops


@given(
    st.sampled_from(["nearest", "linear", "cubic"]),
    st.sampled_from(sorted(COORDINATES)),
    st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
    st.tuples(*[st.integers(2, 5)] * 2),
    st.tuples(*[st.integers(1, 9)] * 2),
)
@CHECKS
def test_sizes(mode, coordinates, rounding, size, result):
    # where one element is left, the evaluator departs from the specification
    assume(coordinates != "pytorch_half_pixel" or 1 not in result)
    x = noise(0, 1, 2, *size)
    model = resized(
        x,
        sizes=[1, 2, *result],
        mode=mode,
        coordinate_transformation_mode=coordinates,
        nearest_mode=rounding,
    )
    # the evaluator follows the specification where ONNX Runtime rounds ties in float32
    assert_same(model, {"x": x}, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
@pytest.mark.parametrize("factors", [(2.0, 2.0), (1.5, 3.0), (0.5, 0.5)])
def test_scales(mode, coordinates, factors):
    x = noise(0, 1, 3, 4, 6)
    model = resized(
        x, scales=[1, 1, *factors], mode=mode, coordinate_transformation_mode=coordinates
    )
    check(model, x)


@pytest.mark.parametrize(
    ("mode", "coordinates", "rounding"),
    [
        ("nearest", "asymmetric", "floor"),
        ("nearest", "half_pixel", "round_prefer_floor"),
        ("linear", "half_pixel", "floor"),
        ("linear", "align_corners", "floor"),
    ],
)
def test_common_upsampling_is_one_operator(mode, coordinates, rounding):
    x = noise(0, 1, 2, 4, 4)
    model = resized(
        x,
        scales=[1, 1, 2, 2],
        mode=mode,
        coordinate_transformation_mode=coordinates,
        nearest_mode=rounding,
    )
    ops = check(model, x)
    assert [op for op in ops if op.startswith("RESIZE")]
    assert "GATHER" not in ops


def test_resize_of_one_axis():
    x = noise(0, 2, 3, 5)
    check(resized(x, sizes=[2, 3, 10], mode="linear"), x)


def test_dynamic_size_with_an_integer_factor():
    model = model_of(
        """<ir_version: 10, opset_import: ["": 21]>
        g (float[N, 3, H, W] x, float[4] s) => (float[N, 3, A, B] y) {
            y = Resize <mode = "linear"> (x, , s)
        }""",
        {"s": np.array([1, 1, 2, 2], np.float32)},
    )
    x = noise(0, 1, 3, 4, 5)
    check(model, x)


def test_antialias_is_refused_with_a_reason():
    model = resized(noise(0, 1, 1, 4, 4), sizes=[1, 1, 2, 2], mode="linear", antialias=1)
    with pytest.raises(UnsupportedError, match="antialias"):
        convert_and_run(model, {})


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode):
    x = noise(0, 1, 12, 3, 4)
    assert_same(node_model("DepthToSpace", {"x": x}, blocksize=2, mode=mode), {"x": x})


def test_space_to_depth():
    x = noise(0, 1, 3, 4, 6)
    assert_same(node_model("SpaceToDepth", {"x": x}, blocksize=2), {"x": x})


def test_a_convolution_makes_channels_in_the_order_of_depth_to_space():
    model = model_of(
        """<ir_version: 10, opset_import: ["": 21]>
        g (float[N, 3, 4, 4] x, float[8, 3, 1, 1] w, float[8] b) => (float[N, 2, 8, 8] y) {
            c = Conv <kernel_shape = [1, 1]> (x, w, b)
            r = Relu(c)
            y = DepthToSpace <blocksize = 2, mode = "CRD"> (r)
        }""",
        {"w": noise(0, 8, 3, 1, 1), "b": noise(1, 8)},
    )
    ops = assert_same(model, {"x": noise(2, 2, 3, 4, 4)})
    assert [op for op in ops if op != "TRANSPOSE"] == ["CONV_2D", "DEPTH_TO_SPACE"]
