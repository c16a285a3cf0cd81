"""Images are found through whatever lies between them and a convolution."""

import numpy as np

from edgekit.ir.images import image_layouts, image_values
from edgekit.passes.canonicalize.pipeline import canonicalize
from edgekit.testing.graphs import GraphBuilder
from edgekit.vocabulary import Layout


def weight(*shape):
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


def test_layouts_spread_through_elementwise_operators_and_transposes():
    g = GraphBuilder()
    image = g.input("image", ["N", 8, 8, 3])
    mask = g.input("mask", ["N", 4, 8, 8])
    states = g.input("states", [1, 2, 8, 8])
    x = g.op("Transpose", g.op("Mul", image, g.op("Sigmoid", image)), perm=[0, 3, 1, 2])
    y = g.op("Conv", x, weight(4, 3, 3, 3), pads=[1, 1, 1, 1])
    out = g.op("Transpose", g.op("Relu", g.op("Add", y, mask)), perm=[0, 2, 3, 1])
    model = canonicalize(g.build(out, g.op("Sin", states)))
    found = image_layouts(model)
    assert found["image"] == Layout.NHWC
    assert found["mask"] == Layout.NCHW
    assert found[model.graph.outputs[0].name] == Layout.NHWC
    assert "states" not in found
    assert model.graph.outputs[1].name not in found


def test_what_is_not_4d_is_no_image():
    g = GraphBuilder()
    x = g.input("x", ["N", 3, 16])
    model = canonicalize(g.build(g.op("Conv", x, weight(4, 3, 3))))
    assert image_values(model) == set()
