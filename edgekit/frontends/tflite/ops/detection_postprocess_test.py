"""The detection post-processing against the interpreter, which has this custom operator."""

from __future__ import annotations

import numpy as np
import pytest
from flatbuffers import flexbuffers

from edgekit.errors import ModelFileError, UnsupportedError
from edgekit.testing.tiny_tflite import TinyModel, run_imported, run_interpreter

ANCHORS, CLASSES, DETECTIONS = 30, 3, 8


def detector(custom_options, label_offset=1):
    tiny = TinyModel()
    boxes = tiny.input((1, ANCHORS, 4))
    scores = tiny.input((1, ANCHORS, CLASSES + label_offset))
    rng = np.random.default_rng(0)
    centres, sizes = rng.uniform(0.1, 0.9, (ANCHORS, 2)), rng.uniform(0.1, 0.4, (ANCHORS, 2))
    anchors = tiny.constant(np.concatenate([centres, sizes], 1).astype(np.float32))
    outputs = [tiny.tensor(s) for s in ((1, DETECTIONS, 4), (1, DETECTIONS), (1, DETECTIONS), (1,))]
    tiny.op("TFLite_Detection_PostProcess", [boxes, scores, anchors], outputs,
            custom_options=custom_options)  # fmt: skip
    tiny.output(*outputs)
    return tiny.pack()


def options(**changes):
    builder = flexbuffers.Builder()
    given = {
        "max_detections": DETECTIONS,
        "max_classes_per_detection": 1,
        "num_classes": CLASSES,
        "nms_score_threshold": 0.3,
        "nms_iou_threshold": 0.4,
        "y_scale": 10.0,
        "x_scale": 10.0,
        "h_scale": 5.0,
        "w_scale": 5.0,
        "use_regular_nms": False,
        **changes,
    }
    builder.MapFromElements(given)
    return bytes(builder.Finish())


@pytest.mark.parametrize("regular", [False, True])
@pytest.mark.parametrize("threshold", [0.3, 0.93])
@pytest.mark.parametrize("seed", range(3))
def test_boxes_classes_scores_and_count(regular, threshold, seed):
    """Beyond the count the interpreter leaves classes undefined in places; compare up to it."""
    rng = np.random.default_rng(seed)
    feeds = [
        rng.uniform(-1, 1, (1, ANCHORS, 4)).astype(np.float32),
        rng.uniform(0, 1, (1, ANCHORS, CLASSES + 1)).astype(np.float32),
    ]
    model = detector(
        options(
            use_regular_nms=regular, nms_score_threshold=threshold, detections_per_class=DETECTIONS
        )
    )
    wanted, got = run_interpreter(model, feeds), run_imported(model, feeds)
    count = int(wanted[3][0])
    assert [g.shape for g in got] == [w.shape for w in wanted]
    assert int(got[3][0]) == count
    assert count > 0
    for ours, theirs in zip(got[:3], wanted[:3], strict=True):
        np.testing.assert_allclose(ours[:, :count], theirs[:, :count], atol=1e-5)


def test_damaged_options_are_a_file_error():
    with pytest.raises(ModelFileError, match="options of TFLite_Detection_PostProcess"):
        run_imported(detector(b"\x00\x01\x02"), [])


def test_several_classes_per_box_have_a_reason():
    with pytest.raises(UnsupportedError, match="one box may have 2 classes"):
        run_imported(detector(options(max_classes_per_detection=2)), [])
