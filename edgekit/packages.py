"""Packages that are looked up without importing them, or imported with care."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from edgekit.errors import MissingDependencyError

TFLITE_INTERPRETERS: Mapping[str, str] = MappingProxyType(
    {
        "ai-edge-litert": "ai_edge_litert.interpreter",
        "tflite-runtime": "tflite_runtime.interpreter",
        "tensorflow": "tensorflow.lite",
    }
)
"""Distributions that bring a TFLite `Interpreter`, best first, and the module it is in."""

_TELEMETRY = "openvino_telemetry"


@cache
def version_of(distribution: str) -> str:
    """Version of an installed distribution, read from its metadata; empty when it is absent."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def can_import(module: str) -> bool:
    """Whether a top-level module exists, without importing it."""
    return module in sys.modules or find_spec(module) is not None


def tflite_interpreter() -> tuple[str, str]:
    """The distribution that serves TFLite here and its version; two empty strings for none."""
    for distribution, module in TFLITE_INTERPRETERS.items():
        found = version_of(distribution)
        if found and can_import(module.partition(".")[0]):
            return distribution, found
    return "", ""


def import_tflite(needed_for: str = "the tflite runtime") -> Any:
    """Import the module that has the TFLite `Interpreter` class.

    Raises:
        MissingDependencyError: if no package that brings one is installed.
    """
    distribution, _ = tflite_interpreter()
    if not distribution:
        raise MissingDependencyError("ai-edge-litert", extra="tflite", needed_for=needed_for)
    return import_module(TFLITE_INTERPRETERS[distribution])


def import_openvino(needed_for: str = "the openvino runtime") -> Any:
    """Import OpenVINO without its telemetry, which sends an event from the import on.

    OpenVINO falls back to a stub of its own when its telemetry package cannot be imported.

    Raises:
        MissingDependencyError: if OpenVINO is not installed.
    """
    if not can_import("openvino"):
        raise MissingDependencyError("openvino", extra="openvino", needed_for=needed_for)
    with _hidden(_TELEMETRY):
        return import_module("openvino")


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Make a package impossible to import for a moment, unless it is imported already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
