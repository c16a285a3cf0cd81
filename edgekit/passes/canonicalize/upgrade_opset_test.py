"""Models of every opset from 7 on compute the same at opset 21."""

import numpy as np
import onnx
import onnx_ir
import pytest

from edgekit.errors import UnsupportedError
from edgekit.passes.canonicalize.pipeline import canonicalize
from edgekit.testing.graphs import GraphBuilder, largest_difference, random_feeds


def check(model):
    after = canonicalize(model)
    assert after.graph.opset_imports == {"": 21}
    onnx.checker.check_model(onnx_ir.to_proto(after.ir), full_check=True)
    assert largest_difference(model, after, random_feeds(model)) < 1e-5
    return after


def kinds(model):
    return [node.op_type for node in model.graph]


def f32(*values):
    return np.array(values, np.float32)


def upsample_7(g, x):
    return g.op("Upsample", x, scales=[1.0, 1.0, 2.0, 3.0], mode="nearest")


def upsample_9(g, x):
    return g.op("Upsample", x, f32(1, 1, 2, 1.5), mode="linear")


def resize_10(g, x):
    return g.op("Resize", x, f32(1, 1, 1.7, 0.6), mode="nearest")


def slice_1(g, x):
    return g.op("Slice", x, starts=[1, 0], ends=[3, -1], axes=[1, 3])


def top_k_1(g, x):
    return g.op("TopK", x, k=2, axis=1, outputs=2)[0]


def pad_2(g, x):
    return g.op("Pad", x, pads=[0, 0, 1, 2, 0, 1, 0, 1], value=0.5)


def pad_reflect(g, x):
    return g.op("Pad", x, pads=[0, 0, 1, 2, 0, 0, 0, 1], mode="reflect")


def clip_6(g, x):
    return g.op("Clip", x, min=-0.2, max=0.7)


def clip_low(g, x):
    return g.op("Clip", x, min=0.1)


def scatter_9(g, x):
    return g.op("Scatter", x, np.zeros((1, 4, 1, 5), np.int64), f32(*range(20)).reshape(1, 4, 1, 5))


def dropout_7(g, x):
    return g.op("Dropout", g.op("Relu", x), ratio=0.3)


def squeeze_1(g, x):
    return g.op("Unsqueeze", g.op("Squeeze", x, axes=[0]), axes=[1])


def reduce_old(g, x):
    return g.op("Add", g.op("ReduceSum", x, axes=[1]), g.op("ReduceMean", x, axes=[1, 2]))


def reduce_all(g, x):
    return g.op("ReduceMax", x, keepdims=1)


def split_2(g, x):
    a, b = g.op("Split", x, axis=1, split=[1, 3], outputs=2)
    c, d = g.op("Split", b, axis=3, outputs=1), a
    return g.op("Mul", c, d)


def split_equal(g, x):
    a, b = g.op("Split", x, axis=1, outputs=2)
    return g.op("Sub", a, b)


def softmax_flat(g, x):
    return g.op("Softmax", x)


def softmax_last(g, x):
    return g.op("LogSoftmax", x, axis=3)


def softmax_dense(g, x):
    return g.op("Softmax", g.op("Flatten", x))


def hardmax_flat(g, x):
    return g.op("Hardmax", x, axis=2)


def batch_norm_7(g, x):
    c = [f32(1, 2, 3, 4), f32(0.1, 0.2, 0.3, 0.4), f32(0, 1, 0, 1), f32(1, 2, 1, 2)]
    return g.op("BatchNormalization", g.op("Relu", x), *c, epsilon=1e-3)


def grid_sample_16(g, x):
    grid = np.random.default_rng(0).uniform(-1, 1, (1, 4, 4, 2)).astype(np.float32)
    return g.op("GridSample", x, grid, mode="bilinear")


def dft_17(g, x):
    return g.op("DFT", g.op("Unsqueeze", x, [4]), axis=2)


def roi_align_10(g, x):
    return g.op(
        "RoiAlign", x, f32(0, 0, 3, 3).reshape(1, 4), np.array([0]), output_height=2, output_width=2
    )


CASES = [
    (upsample_7, (7, 8)),
    (upsample_9, (9,)),
    (resize_10, (10,)),
    (slice_1, (7, 9)),
    (top_k_1, (7, 9)),
    (pad_2, (7, 10)),
    (pad_reflect, (7, 10)),
    (clip_6, (7, 10)),
    (clip_low, (7, 10)),
    (scatter_9, (9, 10)),
    (dropout_7, (7, 10, 11)),
    (squeeze_1, (7, 11, 12)),
    (reduce_old, (7, 11, 12)),
    (reduce_all, (7, 11, 17)),
    (split_2, (7, 11, 12)),
    (split_equal, (7, 12, 13, 17)),
    (softmax_flat, (7, 11, 12)),
    (softmax_last, (7, 11, 12)),
    (softmax_dense, (7, 12)),
    (hardmax_flat, (7, 12)),
    (batch_norm_7, (7, 8, 9, 13)),
    (roi_align_10, (10, 15)),
    (grid_sample_16, (16, 19)),
    (dft_17, (17, 19)),
]


@pytest.mark.parametrize(
    ("build", "opset"), [(build, opset) for build, opsets in CASES for opset in opsets]
)
@pytest.mark.parametrize("batch", [1, "N"])
def test_old_meaning_is_kept(build, opset, batch):
    if batch == "N" and build in (squeeze_1, scatter_9, roi_align_10, grid_sample_16):
        pytest.skip("the operator is used with a batch of 1 here")
    g = GraphBuilder(opset)
    x = g.input("x", [batch, 4, 6, 5])
    check(g.build(build(g, x)))


@pytest.mark.parametrize("opset", range(7, 25))
def test_every_opset_arrives_at_21(opset):
    g = GraphBuilder(opset)
    x = g.input("x", ["N", 3, 8, 8])
    weight = np.random.default_rng(0).normal(0, 0.2, (4, 3, 3, 3)).astype(np.float32)
    y = g.op("Relu", g.op("Conv", x, weight, pads=[1, 1, 1, 1]))
    y = g.op("Flatten", g.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]))
    y = g.op("Gemm", y, weight.reshape(27, 4)[:16].repeat(4, 0), f32(1, 2, 3, 4))
    after = check(g.build(y))
    assert after.signature.outputs[0].shape == ("N", 4)


def test_elementwise_statistics_of_opset_7():
    # ONNX Runtime dropped them, so the reference is the formula of the specification.
    g = GraphBuilder(7)
    x = g.input("x", [1, 2, 2])
    stats = [np.random.default_rng(k).uniform(0.5, 2, (2, 2)).astype(np.float32) for k in range(4)]
    model = g.build(g.op("BatchNormalization", x, *stats, spatial=0, epsilon=0.1))
    after = canonicalize(model)
    feed = random_feeds(model)["x"]
    scale, bias, mean, var = stats
    from edgekit.ir import Oracle

    got = next(iter(Oracle(after.ir).run({"x": feed}).values()))
    np.testing.assert_allclose(
        got, scale * (feed - mean) / np.sqrt(var + 0.1) + bias, rtol=1e-5, atol=1e-6
    )


def test_group_norm_gets_one_scale_per_channel():
    g = GraphBuilder(18)
    x = g.input("x", [1, 4, 3, 3])
    after = canonicalize(
        g.build(g.op("GroupNormalization", x, f32(1, 2), f32(0, 1), num_groups=2, epsilon=1e-5))
    )
    node = next(iter(after.graph))
    assert node.inputs[1].const_value.numpy().tolist() == [1, 1, 2, 2]
    assert node.inputs[2].const_value.numpy().tolist() == [0, 0, 1, 1]


def test_newer_operators_are_written_out():
    g = GraphBuilder(24)
    x = g.input("x", ["N", 8])
    y = g.op("Swish", g.op("RMSNormalization", x, np.ones(8, np.float32) * 2))
    after = check(g.build(y))
    assert "Swish" not in kinds(after)


@pytest.mark.parametrize("opset", [1, 6])
def test_opset_before_7_is_refused(opset):
    g = GraphBuilder(opset)
    with pytest.raises(UnsupportedError, match=f"opset {opset}"):
        canonicalize(g.build(g.op("Relu", g.input("x", [1]))))


def test_training_mode_is_refused():
    g = GraphBuilder(9)
    x = g.input("x", [2, 3])
    c = f32(1, 1, 1)
    outs = g.op("BatchNormalization", x, c, c, c, c, outputs=3)
    with pytest.raises(UnsupportedError, match="training"):
        canonicalize(g.build(outs[0], outs[1]))


def test_nothing_is_changed_in_the_given_model():
    g = GraphBuilder(9)
    model = g.build(g.op("Upsample", g.input("x", [1, 1, 2, 2]), f32(1, 1, 2, 2)))
    text = str(model.ir)
    canonicalize(model)
    assert str(model.ir) == text
