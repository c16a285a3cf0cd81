"""The public names, on purpose: a change here is a change for users."""

import inspect

import pytest

import edgekit

NAMES = {
    "Bundle",
    "EdgeKitError",
    "Model",
    "Override",
    "Preprocessing",
    "Ranges",
    "Recipe",
    "calibrate",
    "convert",
    "load",
}

PARAMETERS = {
    "load": ["source", "example_inputs", "allow_code"],
    "calibrate": ["model", "data", "samples", "observer", "preprocessing", "progress"],
    "convert": [
        "model",
        "output",
        "targets",
        "precision",
        "calibration",
        "samples",
        "preprocessing",
        "io",
        "io_layout",
        "cpu",
        "recipe",
        "allow_code",
        "force",
        "progress",
    ],
}

EXIT_CODES = {
    "EdgeKitError": 1,
    "UsageError": 2,
    "GateError": 3,
    "UnsupportedError": 4,
    "MissingDependencyError": 5,
    "InputError": 6,
    "ModelFileError": 6,
    "DataError": 6,
    "OutputError": 6,
}


def test_names():
    assert set(edgekit.__all__) == NAMES
    assert set(dir(edgekit)) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_is_there_and_documented(name):
    assert inspect.getdoc(getattr(edgekit, name))


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_parameters(name):
    assert list(inspect.signature(getattr(edgekit, name)).parameters) == PARAMETERS[name]


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        edgekit.nonsense  # noqa: B018


def test_exit_codes():
    from edgekit import errors

    assert {name: getattr(errors, name).exit_code for name in EXIT_CODES} == EXIT_CODES
