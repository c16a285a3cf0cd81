"""Weights stored as integers become floats only where the activations are floats."""

import numpy as np
import onnx_ir
import pytest
from onnx.reference import ReferenceEvaluator

from edgekit.ir import Oracle
from edgekit.ir.verify import verify
from edgekit.passes.canonicalize.pipeline import canonicalize
from edgekit.passes.fold_weight_dequantize import fold_weight_dequantize
from edgekit.testing.graphs import GraphBuilder, random_feeds

rng = np.random.default_rng(5)


def stored(g, *shape, axis=None):
    """A weight that the graph keeps in int8, by tensor or by channel."""
    integers = rng.integers(-127, 128, shape).astype(np.int8)
    if axis is None:
        return g.op("DequantizeLinear", integers, np.float32(0.02), np.int8(0))
    scales = rng.uniform(0.01, 0.03, shape[axis]).astype(np.float32)
    zeros = np.zeros(shape[axis], np.int8)
    return g.op("DequantizeLinear", integers, scales, zeros, axis=axis)


def paired(g, x):
    scale, zero = np.float32(0.05), np.int8(3)
    return g.op("DequantizeLinear", g.op("QuantizeLinear", x, scale, zero), scale, zero)


def ops(model):
    return [node.op_type for node in model.graph]


def hybrid_conv(g):
    x = g.input("x", ["N", 3, 6, 6])
    return g.op("Conv", x, stored(g, 4, 3, 3, 3, axis=0))


def hybrid_dense(g):
    x = g.input("x", ["N", 8])
    hidden = g.op("Relu", g.op("MatMul", x, stored(g, 8, 5, axis=1)))
    return g.op("Gemm", hidden, stored(g, 3, 5), transB=1)


@pytest.mark.parametrize("build", [hybrid_conv, hybrid_dense])
def test_weights_alone_become_floats(build):
    g = GraphBuilder()
    model = canonicalize(g.build(build(g)))
    folded = fold_weight_dequantize(model)
    verify(folded.ir)
    assert "DequantizeLinear" in ops(model)
    assert "DequantizeLinear" not in ops(folded)
    assert all(v.dtype != onnx_ir.DataType.INT8 for v in folded.graph.initializers.values())
    feeds = random_feeds(model)
    (expected,) = ReferenceEvaluator(onnx_ir.to_proto(model.ir)).run(None, feeds)
    (got,) = Oracle(folded.ir).run(feeds).values()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_folded_weights_are_integers_times_scales():
    g = GraphBuilder()
    x = g.input("x", ["N", 4])
    integers = rng.integers(-128, 128, (4, 5)).astype(np.int8)
    scales = np.linspace(0.1, 0.5, 5, dtype=np.float32)
    zeros = np.arange(-2, 3, dtype=np.int8)
    w = g.op("DequantizeLinear", integers, scales, zeros, axis=1)
    folded = fold_weight_dequantize(canonicalize(g.build(g.op("MatMul", x, w))))
    feed = rng.normal(size=(6, 4)).astype(np.float32)
    expected = feed.astype(np.float64) @ ((integers.astype(np.float64) - zeros) * scales)
    (got,) = Oracle(folded.ir).run({"x": feed}).values()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)


def test_a_source_that_is_quantized_throughout_stays_so():
    g = GraphBuilder()
    x = g.input("x", ["N", 3, 6, 6])
    y = paired(g, g.op("Conv", paired(g, x), stored(g, 4, 3, 3, 3, axis=0)))
    model = canonicalize(g.build(y))
    assert ops(fold_weight_dequantize(model)) == ops(model)


def test_a_shared_weight_is_folded_only_for_float_activations():
    g = GraphBuilder()
    x = g.input("x", ["N", 4])
    w = stored(g, 4, 4)
    model = canonicalize(g.build(g.op("MatMul", x, w), g.op("MatMul", paired(g, x), w)))
    folded = fold_weight_dequantize(model)
    floats, integers = [n for n in folded.graph if n.op_type in ("MatMul", "Gemm")]
    if floats.inputs[0].producer() is not None:
        floats, integers = integers, floats
    assert floats.inputs[1].const_value is not None
    assert integers.inputs[1].producer().op_type == "DequantizeLinear"


def test_a_table_that_is_looked_up_stays_small():
    g = GraphBuilder()
    ids = g.input("ids", ["N", 3], onnx_ir.DataType.INT64)
    model = canonicalize(g.build(g.op("Gather", stored(g, 10, 4), ids)))
    assert "DequantizeLinear" in ops(fold_weight_dequantize(model))
