import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.calibration.ranges import Ranges, TensorRange
from edgekit.errors import InputError

FLOATS = st.floats(-1e30, 1e30)
PAIRS = st.tuples(FLOATS, FLOATS).map(sorted)
ENTRIES = st.builds(
    lambda seen, chosen, count: TensorRange(*seen, *chosen, count), PAIRS, PAIRS, st.integers(0)
)
DOCUMENTS = st.builds(
    Ranges,
    tensors=st.dictionaries(st.text(), ENTRIES, max_size=4),
    samples=st.integers(0),
    observer=st.text(),
    data_hash=st.text(),
    model_hash=st.text(),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(DOCUMENTS)
def test_documents_survive_json(ranges):
    assert Ranges.from_json(json.loads(json.dumps(ranges.to_json()))) == ranges


@given(JSON)
def test_anything_else_is_an_input_error(document):
    with pytest.raises(InputError):
        Ranges.from_json(document)


@given(DOCUMENTS, st.data(), JSON)
def test_a_changed_part_is_read_or_refused(ranges, data, value):
    document = ranges.to_json()
    spots = [(document, key) for key in document]
    spots += [(entry, key) for entry in document["tensors"].values() for key in entry]
    place, key = data.draw(st.sampled_from(spots))
    place[key] = value
    try:
        read = Ranges.from_json(document)
    except InputError:
        return
    assert read.to_json() == document


def test_files(tmp_path):
    ranges = Ranges({"x": TensorRange(-1, 2, -0.5, 1.5, 10)}, 5, "minmax", "d", "m")
    ranges.save(tmp_path / "ranges.json")
    assert Ranges.load(tmp_path / "ranges.json") == ranges
    with pytest.raises(InputError, match="cannot read"):
        Ranges.load(tmp_path / "missing.json")
    (tmp_path / "bad.json").write_bytes(b"\xff{")
    with pytest.raises(InputError, match="not valid JSON"):
        Ranges.load(tmp_path / "bad.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="not valid JSON"):
        Ranges.load(tmp_path / "deep.json")


def test_messages_say_where():
    document = Ranges({"x": TensorRange(-1, 2, 0, 1, 10)}, 5, "minmax").to_json()
    document["tensors"]["x"]["high"] = float("nan")
    with pytest.raises(InputError, match=r"tensors\['x'\].high must be finite"):
        Ranges.from_json(document)
    document["tensors"]["x"]["high"] = -3
    with pytest.raises(InputError, match="lower end above"):
        Ranges.from_json(document)
    with pytest.raises(InputError, match="version 2"):
        Ranges.from_json({**document, "version": 2})
