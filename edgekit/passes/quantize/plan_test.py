import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import InputError
from edgekit.passes.quantize.plan import NodePlan, NodePrecision, QuantPlan, TensorPlan
from edgekit.vocabulary import CpuPolicy, Target

SCALES = st.floats(2.0**-100, 2.0**100)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@st.composite
def plans(draw):
    tensors = {}
    for key in draw(st.lists(st.text(), max_size=4, unique=True)):
        count = draw(st.integers(1, 3))
        tensors[key] = TensorPlan(
            tensor=draw(st.text()),
            dtype=draw(st.sampled_from(["int8", "int32"])),
            scale=tuple(draw(st.lists(SCALES, min_size=count, max_size=count))),
            zero_point=(draw(st.integers(-128, 127)),) * count,
            low=-127,
            high=127,
            axis=None if count == 1 else draw(st.integers(0, 5)),
            constant=draw(st.booleans()),
            why=draw(st.text()),
        )
    inputs = st.just({})
    if tensors:
        inputs = st.dictionaries(st.integers(0, 9), st.sampled_from(sorted(tensors)), max_size=3)
    nodes = st.builds(
        NodePlan, st.text(), st.sampled_from(NodePrecision), st.text(), st.text(), inputs
    )
    return QuantPlan(
        draw(st.sampled_from(Target)),
        draw(st.sampled_from(CpuPolicy)),
        tensors,
        draw(st.dictionaries(st.text(), nodes, max_size=3)),
        {"y": min(tensors)} if tensors else {},
        draw(st.text()),
    )


@given(plans())
def test_plans_survive_json(plan):
    assert QuantPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@given(JSON)
def test_anything_else_is_an_input_error(document):
    with pytest.raises(InputError):
        QuantPlan.from_json(document)


@given(plans(), st.data(), JSON)
def test_a_changed_part_is_read_or_refused(plan, data, value):
    document = json.loads(json.dumps(plan.to_json()))
    tables = [document, *document["tensors"].values(), *document["nodes"].values()]
    spots = [(table, key) for table in tables for key in table]
    place, key = data.draw(st.sampled_from(spots))
    place[key] = value
    try:
        read = QuantPlan.from_json(document)
    except InputError:
        return
    assert QuantPlan.from_json(read.to_json()) == read


GOOD = QuantPlan(
    Target.TFLITE,
    CpuPolicy.PORTABLE,
    {"x": TensorPlan("x", "int8", (0.5,), (3,), -128, 127)},
    {"conv": NodePlan("Conv", NodePrecision.INT8, inputs={0: "x"})},
)


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("tensors", {"scale": [0.0]}, "'scale' must be positive"),
        ("tensors", {"scale": []}, "'scale' must be positive"),
        ("tensors", {"scale": [0.5, 0.5]}, "differ in length"),
        ("tensors", {"scale": [0.5, 0.5], "zero_point": [0, 0]}, "need an 'axis'"),
        ("tensors", {"zero_point": [200]}, "not int8"),
        ("tensors", {"range": [-129, 127]}, "within int8"),
        ("tensors", {"range": [5, 5]}, "within int8"),
        ("tensors", {"dtype": "int4"}, "one of int8, uint8, int32"),
        ("tensors", {"axis": -1}, "must not be negative"),
        ("nodes", {"precision": "int4"}, "one of int8, float, integer"),
        ("nodes", {"inputs": {"0": "y"}}, "'y', which is not in 'tensors'"),
        ("nodes", {"inputs": {"one": "x"}}, "operand indices"),
    ],
)
def test_messages_say_what_is_wrong(table, change, message):
    document = GOOD.to_json()
    next(iter(document[table].values())).update(change)
    with pytest.raises(InputError, match=message):
        QuantPlan.from_json(document)


def test_files(tmp_path):
    GOOD.save(tmp_path / "plan.json")
    assert QuantPlan.load(tmp_path / "plan.json") == GOOD
    with pytest.raises(InputError, match="version 9"):
        QuantPlan.from_json({**GOOD.to_json(), "version": 9})


def test_float_nodes_carry_their_reason():
    nodes = {
        "a": NodePlan("Conv", NodePrecision.INT8),
        "b": NodePlan("LSTM", NodePrecision.FLOAT, "no kernel", "use a GRU"),
        "c": NodePlan("Shape", NodePrecision.INTEGER),
    }
    plan = QuantPlan(Target.TFLITE, CpuPolicy.VNNI, {}, nodes)
    (reason,) = plan.float_nodes
    assert str(reason) == "LSTM 'b': no kernel (use a GRU)"
