"""Counts against numbers worked out by hand."""

import numpy as np
import onnx_ir
import pytest

from edgekit.ir import Model
from edgekit.ir.analysis import macs, op_counts, parameters
from edgekit.passes.canonicalize.pipeline import canonicalize
from edgekit.testing.data import shared
from edgekit.testing.graphs import GraphBuilder


def zeros(*shape):
    return np.zeros(shape, np.float32)


CASES = {
    # output 8 x 5 x 5, each from 4 / 2 channels of 3 x 3
    "Conv": ([1, 4, 5, 5], lambda g, x: g.op("Conv", x, zeros(8, 2, 3, 3), group=2, pads=[1] * 4),
             8 * 25 * 2 * 9),
    # every input element is spread over 3 x 2 x 2
    "ConvTranspose": (["N", 4, 5, 5],
                      lambda g, x: g.op("ConvTranspose", x, zeros(4, 3, 2, 2), strides=[2, 2]),
                      4 * 25 * 3 * 4),
    "Gemm": (["N", 6], lambda g, x: g.op("Gemm", x, zeros(7, 6), transB=1), 42),
    "MatMul": (["N", 5, 6], lambda g, x: g.op("MatMul", x, zeros(6, 7)), 5 * 42),
    "batched MatMul": (["N", 3, 5, 6],
                       lambda g, x: g.op("MatMul", x, g.op("Transpose", x, perm=[0, 1, 3, 2])),
                       3 * 25 * 6),
    "Einsum": (["N", 5, 6], lambda g, x: g.op("Einsum", x, zeros(6, 7), equation="...k,kn->...n"),
               5 * 42),
    # 4 gates, 9 steps, input 6 and hidden 3, in two directions
    "LSTM": ([9, "N", 6],
             lambda g, x: g.op("LSTM", x, zeros(2, 12, 6), zeros(2, 12, 3), hidden_size=3,
                               direction="bidirectional"),
             9 * 2 * 12 * (6 + 3)),
    "GRU": ([9, "N", 6], lambda g, x: g.op("GRU", x, zeros(1, 9, 6), zeros(1, 9, 3), hidden_size=3),
            9 * 9 * 9),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_macs(name):
    shape, build, expected = CASES[name]
    g = GraphBuilder()
    model = canonicalize(g.build(build(g, g.input("x", shape))))
    report = macs(model)
    assert report.total == expected
    assert report.unknown == ()


def test_parameters_do_not_count_shapes_and_scales():
    g = GraphBuilder()
    x = g.input("x", [1, 12])
    q = g.constant(np.ones((12, 5), np.int8))
    w = g.op("DequantizeLinear", q, zeros(5) + 1, np.zeros(5, np.int8), axis=1)
    y = g.op("Reshape", g.op("Gemm", x, w, zeros(5)), np.array([5, 1]))
    assert parameters(g.build(y)) == 60 + 5


def test_op_counts_are_sorted():
    g = GraphBuilder()
    x = g.input("x", [1])
    y = g.op("Custom", g.op("Relu", g.op("Sin", g.op("Sin", x))), domain="com.example")
    assert list(op_counts(g.build(y)).items()) == [
        ("Sin", 2),
        ("Relu", 1),
        ("com.example.Custom", 1),
    ]


def test_resnet20():
    """About 0.27 M parameters (https://arxiv.org/abs/1512.03385) and 41 M operations."""
    model = canonicalize(Model(onnx_ir.load(shared("models/resnet20_cifar10.onnx"))))
    assert 0.265e6 < parameters(model) < 0.275e6
    assert 40e6 < macs(model).total < 41.5e6
