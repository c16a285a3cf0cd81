"""Quantized operators of all kinds against the interpreter's integer kernels."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.testing.tiny_tflite import Scale, TinyModel, assert_same, run_imported

LOGISTIC, TANH = Scale(1 / 256, -128), Scale(1 / 128, 0)
IN, OTHER, OUT = Scale(0.03, -5), Scale(0.02, 11), Scale(0.06, 3)


def stored(shape, seed=0):
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def check(kind, feeds, scales, out, constants=(), options=None, options_kind="", order=None,
          version=2, out_shape=(1,)):  # fmt: skip
    tiny = TinyModel()
    operands = [tiny.input(f.shape, "INT8", scale=s) for f, s in zip(feeds, scales, strict=True)]
    operands += [tiny.constant(c) for c in constants]
    operands = [operands[i] for i in order] if order else operands
    y = tiny.tensor(out_shape, "INT8", scale=out)
    tiny.op(kind, operands, [y], options, options_kind=options_kind, version=version)
    tiny.output(y)
    assert_same(tiny.settle(feeds), feeds)


X = stored((2, 4, 6, 8))


@pytest.mark.parametrize("activation", [0, 1, 3])
@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL"])
def test_arithmetic(kind, activation):
    options = {"fusedActivationFunction": activation}
    feeds = [X, stored((1, 6, 8), 1)]
    check(kind, feeds, [IN, OTHER], OUT, options=options, options_kind=f"{kind.title()}Options")


@pytest.mark.parametrize(
    ("kind", "out"),
    [("LOGISTIC", LOGISTIC), ("TANH", TANH), ("HARD_SWISH", OUT), ("RELU", IN), ("RELU6", IN)],
)
def test_activation(kind, out):
    check(kind, [X], [IN], out, version=1 if kind != "RELU" else 2)


def test_softmax():
    check(
        "SOFTMAX",
        [X],
        [Scale(0.1, 3)],
        LOGISTIC,
        options={"beta": 1.0},
        options_kind="SoftmaxOptions",
    )


def test_leaky_relu():
    check("LEAKY_RELU", [X], [IN], OUT, options={"alpha": 0.1}, options_kind="LeakyReluOptions")


@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize("padding", [0, 1])
def test_pooling(kind, padding):
    options = {"padding": padding, "filterHeight": 3, "filterWidth": 2, "strideH": 2, "strideW": 1}
    check(kind, [X], [IN], IN, options=options, options_kind="Pool2DOptions")


def test_mean():
    check(
        "MEAN",
        [X],
        [IN],
        OTHER,
        [np.array([1, 2], np.int32)],
        {"keepDims": False},
        "ReducerOptions",
    )


def test_moving_data():
    check("RESHAPE", [X], [IN], IN, [np.array([4, -1], np.int32)], version=1)
    check("TRANSPOSE", [X], [IN], IN, [np.array([0, 3, 1, 2], np.int32)])
    check("PAD", [X], [IN], IN, [np.array([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32)])
    check("CONCATENATION", [X, stored((2, 4, 1, 8), 1)], [IN, IN], IN, options={"axis": 2},
          options_kind="ConcatenationOptions")  # fmt: skip
    check("MAXIMUM", [X, stored((2, 4, 6, 8), 1)], [IN, IN], IN)
    check("STRIDED_SLICE", [X], [IN], IN, [np.array(v, np.int32) for v in ([0, 1], [2, 4], [1, 2])],
          options_kind="StridedSliceOptions")  # fmt: skip


@pytest.mark.parametrize("align", [{}, {"alignCorners": True}, {"halfPixelCenters": True}])
def test_resize(align):
    size = [np.array([7, 9], np.int32)]
    check("RESIZE_BILINEAR", [X], [IN], IN, size, align, "ResizeBilinearOptions")


def test_requantize():
    check("QUANTIZE", [X], [IN], OUT)


def test_quantize_and_dequantize_at_the_edges():
    tiny = TinyModel()
    x = tiny.input((3, 5))
    q, y = tiny.tensor((3, 5), "INT8", scale=IN), tiny.tensor((3, 5))
    tiny.op("QUANTIZE", [x], [q])
    tiny.op("DEQUANTIZE", [q], [y], version=2)
    tiny.output(q, y)
    assert_same(tiny.pack(), [np.linspace(-5, 5, 15).reshape(3, 5).astype(np.float32)])


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (0.0, 6.0)])
def test_fake_quant(low, high):
    tiny = TinyModel()
    x, y = tiny.input((64,)), tiny.tensor((64,))
    tiny.op(
        "FAKE_QUANT",
        [x],
        [y],
        {"min": low, "max": high, "numBits": 8},
        options_kind="FakeQuantOptions",
    )
    tiny.output(y)
    assert_same(tiny.pack(), [np.random.default_rng(0).uniform(-3, 8, 64).astype(np.float32)])


@pytest.mark.parametrize(("dtype", "bits"), [("INT4", 4), ("INT2", 2)])
def test_packed_weights_unpack_low_bits_first(dtype, bits):
    wanted = np.random.default_rng(0).integers(-(1 << bits - 1), 1 << bits - 1, (3, 8))
    fields = (wanted.reshape(-1, 8 // bits) & (1 << bits) - 1) << np.arange(0, 8, bits)
    tiny = TinyModel()
    x = tiny.input((2, 8))
    w = tiny.constant(fields.sum(1).astype(np.uint8), scale=Scale([0.5, 1.0, 2.0]), dtype=dtype)
    tiny._tensors[w].shape = np.array([3, 8], np.int32)
    y = tiny.tensor((2, 3))
    tiny.op("FULLY_CONNECTED", [x, w, -1], [y], options_kind="FullyConnectedOptions")
    tiny.output(y)
    feed = np.random.default_rng(1).uniform(-1, 1, (2, 8)).astype(np.float32)
    real = wanted * np.array([[0.5], [1.0], [2.0]])
    np.testing.assert_allclose(run_imported(tiny.pack(), [feed])[0], feed @ real.T, atol=1e-5)
