"""What travels in the file besides the graph: preprocessing, layouts, the oldest runtime."""

from __future__ import annotations

import json
from typing import Any

from edgekit.converters.base import EmitOptions
from edgekit.converters.tflite.graph import Graph
from edgekit.converters.tflite.releases import min_runtime_version
from edgekit.ir import Model

METADATA_NAME = "edgekit"
"""Name of the entry with the JSON document."""

METADATA_VERSION = 1
"""Version of that document."""

_RELEASE_BYTES = 16
"""Size of the entry that tools read the oldest runtime from."""


def metadata_of(model: Model, graph: Graph, options: EmitOptions) -> dict[str, bytes]:
    """The named entries of a file.

    Args:
        model: the source, with its preprocessing and layouts.
        graph: what it was lowered to.
        options: what was asked for.
    """
    release = min_runtime_version(graph).encode().ljust(_RELEASE_BYTES, b"\0")
    document: dict[str, Any] = {
        "version": METADATA_VERSION,
        "source": {"name": model.name, "sha256": model.source.sha256},
        "precision": str(options.precision),
        "io": str(options.io),
        "layouts": {name: str(layout) for name, layout in model.layouts.items()},
        "preprocessing": None if model.preprocessing is None else model.preprocessing.to_json(),
    }
    return {
        "min_runtime_version": release,
        METADATA_NAME: json.dumps(document, sort_keys=True).encode(),
    }
