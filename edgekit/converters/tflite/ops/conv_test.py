"""Convolutions on the interpreter against the ONNX reference evaluator."""

import numpy as np
import onnx_ir
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from edgekit.passes.canonicalize.infer_shapes import InferShapes
from edgekit.testing.tflite import assert_same

CHECKS = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def windowed(op, x, constants, out_rank=None, **attributes):
    """A graph of one node over `x`, with constant operands."""
    source = onnx_ir.val("x", onnx_ir.DataType.FLOAT, x.shape)
    weights = [
        None if c is None else onnx_ir.val(f"c{i}", const_value=onnx_ir.tensor(c, name=f"c{i}"))
        for i, c in enumerate(constants)
    ]
    result = onnx_ir.val("y", onnx_ir.DataType.FLOAT)
    node = onnx_ir.node(op, [source, *weights], attributes, outputs=[result], name="node")
    graph = onnx_ir.Graph(
        [source],
        [result],
        nodes=[node],
        initializers=[w for w in weights if w is not None],
        opset_imports={"": 21},
        name="one",
    )
    model = onnx_ir.Model(graph, ir_version=10)
    InferShapes()(model)
    return model


def noise(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@st.composite
def convolutions(draw, axes):
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    inside, outside = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 3)) for _ in range(axes)]
    attributes = {
        "group": groups,
        "kernel_shape": kernel,
        "strides": [draw(st.integers(1, 3)) for _ in range(axes)],
        "dilations": [draw(st.integers(1, 2)) for _ in range(axes)],
    }
    if draw(st.integers(0, 3)):
        attributes["pads"] = [draw(st.integers(0, 2)) for _ in range(2 * axes)]
    else:
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
        attributes["dilations"] = [1] * axes  # the reference ignores dilation there
    sizes = [draw(st.integers(5, 8)) for _ in range(axes)]
    x = noise(draw(st.integers(0, 99)), draw(st.integers(1, 2)), inside, *sizes)
    weights = noise(1, outside, inside // groups, *kernel)
    bias = draw(st.sampled_from([None, noise(2, outside)]))
    return x, weights, bias, attributes


@given(convolutions(axes=2))
@CHECKS
def test_conv_2d(case):
    x, weights, bias, attributes = case
    model = windowed("Conv", x, [weights, bias] if bias is not None else [weights], **attributes)
    assert_same(model, {"x": x}, atol=1e-4)


@given(convolutions(axes=1))
@CHECKS
def test_conv_1d(case):
    x, weights, bias, attributes = case
    model = windowed("Conv", x, [weights, bias] if bias is not None else [weights], **attributes)
    assert_same(model, {"x": x}, atol=1e-4)


@pytest.mark.parametrize("pads", [[0] * 6, [1] * 6, [1, 0, 2, 0, 1, 0]])
def test_conv_3d(pads):
    x, weights = noise(0, 1, 2, 5, 6, 7), noise(1, 3, 2, 3, 3, 3)
    model = windowed("Conv", x, [weights], pads=pads, kernel_shape=[3, 3, 3])
    assert_same(model, {"x": x}, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "stride", "pads", "expected"),
    [
        (8, 1, [1, 1, 1, 1], ["CONV_2D"]),
        (8, 2, [0, 0, 1, 1], ["CONV_2D"]),
        (7, 2, [1, 1, 1, 1], ["CONV_2D"]),
        (8, 2, [1, 1, 1, 1], ["PAD", "CONV_2D"]),
        (9, 1, [0, 0, 0, 0], ["CONV_2D"]),
    ],
)
def test_padding_is_folded_where_tensorflow_would_pad_the_same(size, stride, pads, expected):
    x, weights = noise(0, 1, 1, size, size), noise(1, 2, 1, 3, 3)
    model = windowed("Conv", x, [weights], strides=[stride] * 2, pads=pads, kernel_shape=[3, 3])
    ops = assert_same(model, {"x": x}, atol=1e-4)
    assert [op for op in ops if op in ("PAD", "CONV_2D")] == expected


def test_depthwise_with_a_multiplier_is_one_operator():
    x, weights = noise(0, 1, 3, 6, 6), noise(1, 6, 1, 3, 3)
    model = windowed("Conv", x, [weights], group=3, kernel_shape=[3, 3], pads=[1] * 4)
    assert "DEPTHWISE_CONV_2D" in assert_same(model, {"x": x}, atol=1e-4)


@st.composite
def transposed(draw, axes):
    groups = draw(st.sampled_from([1, 1, 2]))
    inside, outside = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 4)) for _ in range(axes)]
    strides = [draw(st.integers(1, 3)) for _ in range(axes)]
    dilations = [draw(st.sampled_from([1, 1, 2])) for _ in range(axes)]
    attributes = {
        "group": groups,
        "kernel_shape": kernel,
        "strides": strides,
        "dilations": dilations,
        "output_padding": [draw(st.integers(0, s - 1)) for s in strides],
    }
    pads = [
        draw(st.integers(0, (k - 1) * d // 2))
        for k, d in zip(kernel * 2, dilations * 2, strict=True)
    ]
    attributes["pads"] = pads
    sizes = [draw(st.integers(3, 5)) for _ in range(axes)]
    x = noise(draw(st.integers(0, 99)), draw(st.integers(1, 2)), inside, *sizes)
    bias = draw(st.sampled_from([None, noise(2, outside)]))
    return x, noise(1, inside, outside // groups, *kernel), bias, attributes


@given(transposed(axes=2))
@CHECKS
def test_conv_transpose_2d(case):
    x, weights, bias, attributes = case
    constants = [weights] if bias is None else [weights, bias]
    model = windowed("ConvTranspose", x, constants, **attributes)
    assume(all(size > 0 for size in model.graph.outputs[0].shape.numpy()))
    check_with_runtime(model, x)


@given(transposed(axes=1))
@CHECKS
def test_conv_transpose_1d(case):
    x, weights, bias, attributes = case
    constants = [weights] if bias is None else [weights, bias]
    model = windowed("ConvTranspose", x, constants, **attributes)
    assume(all(size > 0 for size in model.graph.outputs[0].shape.numpy()))
    check_with_runtime(model, x)


def check_with_runtime(model, x):
    """ONNX Runtime is the reference: the evaluator's ConvTranspose lacks dilated groups."""
    from edgekit.ir import Oracle
    from edgekit.testing.tflite import convert_and_run

    with Oracle(model, threads=1) as oracle:
        expected = oracle.run({"x": x})["y"]
    got = convert_and_run(model, {"x": x})[0]["y"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
