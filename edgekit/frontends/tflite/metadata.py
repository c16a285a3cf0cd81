"""How pictures become the input, where the file says so.

Two forms are read: the JSON document that EdgeKit's own artifacts carry, and the normalization in
TFLite's model metadata (`metadata_schema.fbs`, a second flatbuffer inside the file), which gives
mean and standard deviation of the 0–255 pixel values.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Mapping
from typing import Literal

from edgekit.errors import EdgeKitError
from edgekit.frontends.tflite.flatbuffer import FlatBuffer, Table
from edgekit.ir import Preprocessing, TensorSpec
from edgekit.vocabulary import Layout

logger = logging.getLogger(__name__)

OWN, STANDARD = "edgekit", "TFLITE_METADATA"
"""Names of the two entries."""

_STANDARD_IDENTIFIER = b"M001"
_NORMALIZATION, _IMAGE = 1, 2
_COLORS: dict[int, Literal["rgb", "gray"]] = {1: "rgb", 2: "gray"}
_DAMAGE = (EdgeKitError, struct.error, ValueError, TypeError, AttributeError, RecursionError)


def preprocessing_of(
    metadata: Mapping[str, bytes], inputs: tuple[TensorSpec, ...]
) -> Preprocessing | None:
    """The preprocessing of a model with one input.

    The model runs without it, so that damaged metadata is a warning in the log, not an error.

    Args:
        metadata: the file's named entries.
        inputs: of the model.
    """
    if len(inputs) != 1:
        return None
    try:
        if OWN in metadata:
            given = json.loads(metadata[OWN]).get("preprocessing")
            return None if given is None else Preprocessing.from_json(given)
        if STANDARD in metadata:
            return _standard(FlatBuffer(metadata[STANDARD]), inputs[0])
    except _DAMAGE as e:
        logger.warning("the metadata of the TFLite file is left out, since it is damaged: %s", e)
    return None


def _standard(buffer: FlatBuffer, spec: TensorSpec) -> Preprocessing | None:
    """Only float images are described: a quantized input has its scale instead."""
    image = spec.dtype == "float32" and spec.layout == Layout.NHWC
    if buffer.identifier != _STANDARD_IDENTIFIER or not image:
        return None
    graph = next(iter(buffer.root().tables(3)), None)
    tensor = None if graph is None else next(iter(graph.tables(2)), None)
    units = [] if tensor is None else tensor.tables(4)
    options = next((u.table(1) for u in units if u.scalar(0, "B") == _NORMALIZATION), None)
    if tensor is None or options is None:
        return None
    mean, std = options.numbers(0, "<f4"), options.numbers(1, "<f4")
    if mean is None or std is None:
        return None
    _, height, width, channels = spec.shape
    fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    document = {"resize": fixed, "mean": mean.tolist(), "std": std.tolist()}
    return Preprocessing.from_json({**document, "color": _color(tensor, channels)})


def _color(tensor: Table, channels: int | str | None) -> str:
    content = tensor.table(3)
    properties = None
    if content is not None and content.scalar(0, "B") == _IMAGE:
        properties = content.table(1)
    space = 0 if properties is None else int(properties.scalar(0, "b"))
    return _COLORS.get(space, "gray" if channels == 1 else "rgb")
