"""Compile a trained model for edge targets, and prove how far it drifted from the float model.

Importing this package loads nothing heavy: names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.bundle import Bundle
    from edgekit.calibration.ranges import Ranges
    from edgekit.errors import EdgeKitError
    from edgekit.ir import Model, Preprocessing
    from edgekit.recipe import Override, Recipe
    from edgekit.sdk import calibrate, convert, load

__version__ = "0.1.0"

__all__ = [
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
]

_HOMES = {
    "Bundle": "edgekit.bundle",
    "EdgeKitError": "edgekit.errors",
    "Model": "edgekit.ir",
    "Override": "edgekit.recipe",
    "Preprocessing": "edgekit.ir",
    "Ranges": "edgekit.calibration.ranges",
    "Recipe": "edgekit.recipe",
    "calibrate": "edgekit.sdk",
    "convert": "edgekit.sdk",
    "load": "edgekit.sdk",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgekit' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
