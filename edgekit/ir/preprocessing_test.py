"""A preprocessing document is read, or refused by the name of its key."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.ir.preprocessing import Preprocessing
from edgekit.vocabulary import Layout

KEYS = ("resize", "crop", "color", "scale", "mean", "std", "layout")

numbers = st.floats(-1e6, 1e6).map(float)
divisors = numbers.filter(bool)
sizes = st.none() | st.tuples(st.integers(1, 4096), st.integers(1, 4096))


def channels(of):
    return st.tuples(of) | st.tuples(of, of, of)


valid = st.builds(
    Preprocessing,
    resize=sizes,
    crop=sizes,
    color=st.sampled_from(["rgb", "bgr", "gray"]),
    scale=numbers,
    mean=channels(numbers),
    std=channels(divisors),
    layout=st.sampled_from(Layout),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(valid)
def test_what_is_written_is_read_back(steps):
    assert Preprocessing.from_json(json.loads(json.dumps(steps.to_json()))) == steps


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=6) | st.integers(), anything))
def test_any_document_is_read_or_refused(document):
    try:
        steps = Preprocessing.from_json(document)
    except UsageError as e:
        named = [key for key in document if str(key) in e.message]
        told = "preprocessing" in e.message and bool(e.hint)
    else:
        named = list(document)
        told = Preprocessing.from_json(steps.to_json()) == steps
    assert told
    assert bool(named) == bool(document)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("resize", "big", "[height, width]"),
        ("resize", 224, "[height, width]"),
        ("resize", [224, 224, 3], "[height, width]"),
        ("resize", [224, 0], "positive"),
        ("resize", [22.5, 22], "whole"),
        ("crop", ["a", 3], "[height, width]"),
        ("color", "cmyk", "rgb, bgr, gray"),
        ("color", ["rgb"], "rgb, bgr, gray"),
        ("scale", "1/255", "a number"),
        ("scale", True, "a number"),
        ("scale", float("nan"), "a number"),
        ("scale", 10**400, "a number"),
        ("mean", [0.5, 0.5], "three"),
        ("mean", {"r": 1}, "three"),
        ("mean", None, "three"),
        ("std", [1, 0, 1], "zero"),
        ("std", float("inf"), "three"),
        ("layout", "hwc", "nhwc"),
        ("layout", [], "nhwc"),
    ],
)
def test_a_wrong_value_names_its_key_and_what_is_expected(key, value, expected):
    with pytest.raises(UsageError) as caught:
        Preprocessing.from_json({key: value})
    assert key in caught.value.message
    assert key in caught.value.hint
    assert expected in caught.value.hint


def test_one_value_serves_all_channels():
    steps = Preprocessing.from_json({"mean": 127.5, "std": [2], "resize": [8, 9.0]})
    assert (steps.mean, steps.std, steps.resize) == ((127.5,), (2.0,), (8, 9))


def test_numbers_that_yaml_reads_as_text():
    document = yaml.safe_load("{scale: 1e-2, mean: [5e-1, 0, 1]}")
    assert document["scale"] == "1e-2"
    steps = Preprocessing.from_json(document)
    assert (steps.scale, steps.mean) == (0.01, (0.5, 0.0, 1.0))


def test_an_unknown_key_lists_those_there_are():
    with pytest.raises(UsageError, match="unknown keys: sise") as caught:
        Preprocessing.from_json({"sise": 3})
    assert all(key in caught.value.hint for key in KEYS)
