import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import EdgeKitError, UsageError
from edgekit.recipe import Override, Recipe
from edgekit.vocabulary import IoType, Layout, Precision, Target

TEXT = """
version: 1
targets: [tflite, openvino]
precision: int8
calibration: data.npz
samples: 32
io: int8
io_layout: nchw
preprocessing: {resize: [96, 96], scale: 0.00392, mean: [0.5, 0.5, 0.5]}
overrides:
  - keep_float: Softmax
  - {keep_float: "head/*", targets: [openvino]}
"""


def test_reads_yaml(tmp_path):
    (tmp_path / "recipe.yaml").write_text(TEXT)
    recipe = Recipe.read(tmp_path / "recipe.yaml")
    assert recipe.targets == (Target.TFLITE, Target.OPENVINO)
    assert (recipe.precision, recipe.io, recipe.io_layout) == (
        Precision.INT8,
        IoType.INT8,
        Layout.NCHW,
    )
    assert recipe.overrides == (
        Override("Softmax"),
        Override("head/*", (Target.OPENVINO,)),
    )
    assert recipe.preprocessing.resize == (96, 96)
    assert recipe.calibration == "data.npz"


def test_a_relative_data_path_counts_from_the_recipe(tmp_path):
    (tmp_path / "data.npz").touch()
    (tmp_path / "recipe.yaml").write_text("{version: 1, calibration: data.npz}")
    assert Recipe.read(tmp_path / "recipe.yaml").calibration == str(tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "mapping"),
        ({}, "version"),
        ({"version": 2}, "version"),
        ({"version": 1, "tragets": ["tflite"]}, "tragets"),
        ({"version": 1, "targets": ["coreml"]}, "coreml"),
        ({"version": 1, "targets": "tflite"}, "list"),
        ({"version": 1, "targets": []}, "at least one"),
        ({"version": 1, "targets": ["tflite", "tflite"]}, "twice"),
        ({"version": 1, "precision": "int4"}, "int4"),
        ({"version": 1, "samples": 0}, "at least 1"),
        ({"version": 1, "samples": True}, "whole number"),
        ({"version": 1, "samples": "many"}, "whole number"),
        ({"version": 1, "io": "int8"}, "needs --precision int8"),
        ({"version": 1, "overrides": [{"op": "Softmax"}]}, "override"),
        ({"version": 1, "preprocessing": {"resise": [1, 2]}}, "resise"),
        ({"version": 1, "preprocessing": {"std": 0}}, "std"),
        ({"version": 1, "preprocessing": {"resize": [0, 5]}}, "positive"),
    ],
)
def test_refuses(document, message):
    with pytest.raises(UsageError, match=message):
        Recipe.from_json(document)


@pytest.mark.parametrize("text", ["{", "!!python/object/apply:os.system [ls]", "\x00"])
def test_refuses_what_is_not_plain_yaml(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UsageError):
        Recipe.read(tmp_path / "r.yaml")


def test_missing_file(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        Recipe.read(tmp_path / "none.yaml")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KEYS = st.sampled_from([*Recipe.__dataclass_fields__, "version"])


@given(st.dictionaries(KEYS, JSON))
def test_any_document_is_read_or_refused_cleanly(document):
    try:
        recipe = Recipe.from_json({**document, "version": 1})
    except EdgeKitError:
        return
    assert isinstance(recipe, Recipe)
