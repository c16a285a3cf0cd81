import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.converters.base import EmitOptions
from edgekit.converters.tflite.converter import TFLiteConverter
from edgekit.errors import UnsupportedError
from edgekit.ir import Model, Oracle, Source
from edgekit.testing.tflite import convert_and_run, model_of


def suppression(images, classes, boxes, *, most=3, overlap=0.4, score=0.3, centers=0, keep=False):
    text = (
        '<ir_version: 10, opset_import: ["" : 21]> g '
        f"(float[{images},{boxes},4] boxes, float[{images},{classes},{boxes}] scores, "
        "int64 most, float overlap, float score) => (int64[K,3] y) "
        f"{{ y = NonMaxSuppression<center_point_box={centers}>"
        f"(boxes, scores, most, overlap{', score' if not keep else ''}) }}"
    )
    constants = {
        "most": np.array(most, np.int64),
        "overlap": np.array(overlap, np.float32),
        "score": np.array(score, np.float32),
    }
    return model_of(text, constants)


def feeds_of(images, classes, boxes, seed, centers=0):
    rng = np.random.default_rng(seed)
    corner = rng.random((images, boxes, 2))
    size = rng.random((images, boxes, 2)) * 0.5
    other = size if centers else corner + size
    # Distinct scores: the order of equal ones is nobody's promise.
    scores = rng.permutation(images * classes * boxes).reshape(images, classes, boxes)
    return {
        "boxes": np.concatenate([corner, other], 2).astype(np.float32),
        "scores": ((scores + 1) / (scores.size + 1)).astype(np.float32),
    }


@settings(max_examples=15, deadline=None)
@given(
    images=st.integers(1, 2),
    classes=st.integers(1, 3),
    boxes=st.integers(1, 12),
    most=st.integers(1, 20),
    overlap=st.floats(0.1, 0.9),
    score=st.floats(0.0, 1.0),
    centers=st.integers(0, 1),
    seed=st.integers(0, 99),
)
def test_the_same_boxes_are_kept(images, classes, boxes, centers, seed, **limits):
    model = suppression(images, classes, boxes, centers=centers, **limits)
    feeds = feeds_of(images, classes, boxes, seed, centers)
    got, ops = convert_and_run(model, feeds)
    with Oracle(model) as oracle:
        expected = oracle.run(feeds)
    np.testing.assert_array_equal(got["y"].reshape(-1, 3), expected["y"])
    assert got["y"].dtype == np.int64
    assert ops.count("NON_MAX_SUPPRESSION_V4") == images * classes


def test_all_boxes_may_be_asked_for():
    model = suppression(1, 1, 6, most=2**62, keep=True)
    feeds = feeds_of(1, 1, 6, 0)
    with Oracle(model) as oracle:
        expected = oracle.run(feeds)
    np.testing.assert_array_equal(convert_and_run(model, feeds)[0]["y"], expected["y"])


@pytest.mark.parametrize(
    ("form", "reason"),
    [({"classes": 300}, "more than the 256 runs"), ({"classes": 1, "most": 0}, "keeps no boxes")],
)
def test_what_cannot_be_lowered_says_why(tmp_path, form, reason):
    model = suppression(1, boxes=4, **form)
    with pytest.raises(UnsupportedError, match=reason):
        TFLiteConverter().emit(Model(model, source=Source("m")), tmp_path, EmitOptions())
