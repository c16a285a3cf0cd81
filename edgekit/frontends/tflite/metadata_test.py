"""Preprocessing that travels in a file."""

from __future__ import annotations

import json

import flatbuffers
import pytest

from edgekit.frontends.tflite.metadata import preprocessing_of
from edgekit.frontends.tflite.reader import read_model
from edgekit.ir import Preprocessing, TensorSpec
from edgekit.testing.tiny_tflite import TinyModel
from edgekit.vocabulary import Layout

PICTURE = (TensorSpec("picture", "float32", ("batch", 24, 32, 3), Layout.NHWC),)


def table(builder, *fields):
    """A table of (slot, kind, value); kind is an offset or the name of a scalar."""
    builder.StartObject(1 + max(slot for slot, _, _ in fields))
    for slot, kind, value in fields:
        if kind == "offset":
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        else:
            builder.PrependUint8Slot(slot, value, 0)
    return builder.EndObject()


def vector(builder, values, prepend, size=4):
    builder.StartVector(size, len(values), size)
    for value in reversed(values):
        prepend(value)
    return builder.EndVector()


def standard(mean, std, color):
    """ModelMetadata with one subgraph, one input, its colour space and one normalization."""
    b = flatbuffers.Builder(256)
    floats = [vector(b, v, b.PrependFloat32) for v in (mean, std)]
    normalization = table(b, (0, "offset", floats[0]), (1, "offset", floats[1]))
    unit = table(b, (0, "byte", 1), (1, "offset", normalization))
    units = vector(b, [unit], b.PrependUOffsetTRelative)
    content = table(b, (0, "byte", 2), (1, "offset", table(b, (0, "byte", color))))
    tensor = table(b, (3, "offset", content), (4, "offset", units))
    tensors = vector(b, [tensor], b.PrependUOffsetTRelative)
    graphs = vector(b, [table(b, (2, "offset", tensors))], b.PrependUOffsetTRelative)
    b.Finish(table(b, (3, "offset", graphs)), file_identifier=b"M001")
    return bytes(b.Output())


def test_normalization_of_the_standard_metadata():
    found = preprocessing_of({"TFLITE_METADATA": standard([127.5], [128.0], 1)}, PICTURE)
    assert found == Preprocessing(resize=(24, 32), color="rgb", mean=(127.5,), std=(128.0,))


def test_normalization_is_for_single_float_images_only():
    entries = {"TFLITE_METADATA": standard([127.5], [128.0], 1)}
    stored = TensorSpec("picture", "uint8", (1, 24, 32, 3), Layout.NHWC)
    assert preprocessing_of(entries, (stored,)) is None
    assert preprocessing_of(entries, PICTURE * 2) is None


def test_our_own_document_survives_the_file():
    wanted = Preprocessing(resize=(8, 9), scale=1 / 255, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    tiny = TinyModel()
    tiny.output(tiny.input((1, 8, 9, 3)))
    tiny.metadata("edgekit", json.dumps({"version": 1, "preprocessing": wanted.to_json()}).encode())
    entries = read_model(tiny.pack()).metadata
    assert preprocessing_of(entries, PICTURE) == wanted


@pytest.mark.parametrize(
    "entries",
    [
        {"edgekit": b"{not json"},
        {"edgekit": b"[]"},
        {"edgekit": b'{"preprocessing": {"mean": "red"}}'},
        {"TFLITE_METADATA": standard([127.5], [128.0], 1)[:-40]},
        {"TFLITE_METADATA": standard([1.0], [0.0], 1)},
        {"TFLITE_METADATA": b""},
    ],
)
def test_damaged_metadata_is_left_out_with_a_warning(entries, caplog):
    assert preprocessing_of(entries, PICTURE) is None
    assert "damaged" in caplog.text or entries["TFLITE_METADATA"] == b""
