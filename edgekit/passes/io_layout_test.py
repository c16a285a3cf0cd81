"""The order of axes at the edges changes, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from edgekit.ir import Oracle
from edgekit.ir.verify import verify
from edgekit.passes.canonicalize.pipeline import canonicalize
from edgekit.passes.io_layout import change_io_layout
from edgekit.testing.graphs import GraphBuilder, random_feeds
from edgekit.vocabulary import Layout


def weight(*shape):
    return np.random.default_rng(0).normal(0, 0.3, shape).astype(np.float32)


def segmenter(layout):
    """An image in, a mask and a vector out."""
    g = GraphBuilder()
    x = g.input("x", ["N", 3, 8, 6] if layout == Layout.NCHW else ["N", 8, 6, 3])
    y = g.op("Transpose", x, perm=[0, 3, 1, 2]) if layout == Layout.NHWC else x
    y = g.op("Relu", g.op("Conv", y, weight(4, 3, 3, 3), pads=[1, 1, 1, 1]))
    vector = g.op("Flatten", g.op("GlobalAveragePool", y))
    mask = g.op("Sigmoid", g.op("Conv", y, weight(2, 4, 1, 1)))
    mask = g.op("Transpose", mask, perm=[0, 2, 3, 1]) if layout == Layout.NHWC else mask
    return canonicalize(g.build(mask, vector))


def permuted(array, before, after):
    if before == after or array.ndim != 4:
        return array
    return array.transpose(0, 2, 3, 1) if after == Layout.NHWC else array.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("before", list(Layout))
@pytest.mark.parametrize("after", list(Layout))
@pytest.mark.parametrize("told", [True, False])
def test_images_change_and_vectors_do_not(before, after, told):
    model = segmenter(before)
    names = [v.name for v in model.graph.outputs]
    if told:
        model = replace(model, layouts={"x": before, names[0]: before})
    changed = change_io_layout(model, after)
    verify(changed.ir)
    assert [v.name for v in changed.graph.outputs] == names
    assert changed.layouts == {"x": after, names[0]: after}
    sizes = {Layout.NCHW: ("N", 3, 8, 6), Layout.NHWC: ("N", 8, 6, 3)}
    assert changed.signature.inputs[0].shape == sizes[after]
    feeds = random_feeds(model)
    expected = Oracle(model.ir).run(feeds)
    got = Oracle(changed.ir).run({"x": permuted(feeds["x"], before, after)})
    for name in names:
        np.testing.assert_allclose(
            got[name], permuted(expected[name], before, after), rtol=1e-5, atol=1e-6
        )


def test_transposes_at_the_edges_cancel():
    changed = change_io_layout(segmenter(Layout.NHWC), Layout.NCHW)
    assert "Transpose" not in [node.op_type for node in changed.graph]


def test_the_given_model_stays():
    model = segmenter(Layout.NCHW)
    text = str(model.ir)
    change_io_layout(model, Layout.NHWC)
    assert str(model.ir) == text
