"""Real models and data that tests use when they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_FOLDER = Path(os.environ.get("EDGEKIT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def shared(name: str) -> Path:
    """Path of a file or folder of the shared data; skips the calling test when it is absent.

    Args:
        name: path below the data folder, which is `$EDGEKIT_TEST_DATA` or `../shared/data`
            beside the project.
    """
    path = _FOLDER / name
    if not path.exists():
        pytest.skip(f"needs '{name}' from the shared data folder (set EDGEKIT_TEST_DATA)")
    return path
