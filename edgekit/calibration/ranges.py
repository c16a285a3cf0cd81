"""What calibration found: a document of per-tensor ranges that every target decides from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edgekit.errors import InputError

VERSION = 1
"""Version of the ranges document."""


@dataclass(frozen=True)
class TensorRange:
    """The range of one tensor over the calibration set.

    Attributes:
        observed_min: the lowest value seen.
        observed_max: the highest value seen.
        low: the lower end the observer chose.
        high: the upper end the observer chose.
        count: how many values were seen.
    """

    observed_min: float
    observed_max: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Ranges:
    """Per-tensor ranges of a model, and what they were measured on.

    Attributes:
        tensors: range of each observed tensor, by name.
        samples: how many samples were run.
        observer: which observer chose the ranges.
        data_hash: SHA-256 of the calibration data.
        model_hash: digest of the graph that was run, see `edgekit.calibration.graph_hash`.
    """

    tensors: Mapping[str, TensorRange]
    samples: int
    observer: str
    data_hash: str = ""
    model_hash: str = ""

    def to_json(self) -> dict[str, Any]:
        """This as a JSON object."""
        return {
            "version": VERSION,
            "samples": self.samples,
            "observer": self.observer,
            "data_hash": self.data_hash,
            "model_hash": self.model_hash,
            "tensors": {name: asdict(entry) for name, entry in self.tensors.items()},
        }

    @classmethod
    def from_json(cls, document: Any) -> Ranges:
        """Read and validate a JSON object.

        Raises:
            InputError: naming the part of the document that is wrong.
        """
        if not isinstance(document, Mapping):
            raise InputError("a ranges document must be a JSON object.")
        if document.get("version") != VERSION:
            raise InputError(
                f"the ranges document has version {document.get('version')!r}; "
                f"this EdgeKit reads version {VERSION}.",
                hint="calibrate again",
            )
        tensors = document.get("tensors")
        if not isinstance(tensors, Mapping):
            raise InputError("the ranges document has no 'tensors' object.")
        return cls(
            tensors={str(name): _entry(str(name), entry) for name, entry in tensors.items()},
            samples=_count(document.get("samples"), "samples"),
            observer=_text(document, "observer"),
            data_hash=_text(document, "data_hash"),
            model_hash=_text(document, "model_hash"),
        )

    def save(self, path: Path) -> None:
        """Write the document."""
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Ranges:
        """Read a document that `save` wrote.

        Raises:
            InputError: if the file cannot be read or is not valid.
        """
        return cls.from_json(read_json(path))


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        InputError: if it is missing, not UTF-8, or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise InputError(f"cannot read '{path}': {e.strerror or e}.") from e
    except (ValueError, RecursionError) as e:
        raise InputError(f"'{path}' is not valid JSON: {e}.") from e


def _entry(name: str, entry: Any) -> TensorRange:
    where = f"tensors['{name}']"
    if not isinstance(entry, Mapping):
        raise InputError(f"{where} must be an object.")
    names = {f.name for f in fields(TensorRange)}
    if set(entry) != names:
        raise InputError(f"{where} must have exactly the keys {', '.join(sorted(names))}.")
    values = {key: _number(entry[key], f"{where}.{key}") for key in names - {"count"}}
    if values["low"] > values["high"] or values["observed_min"] > values["observed_max"]:
        raise InputError(f"{where} has a lower end above its upper end.")
    return TensorRange(**values, count=_count(entry["count"], f"{where}.count"))


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"{where} must be a number, not {value!r}.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{where} must be finite.")
    return number


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{where} must be a whole number of zero or more, not {value!r}.")
    return value


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise InputError(f"'{key}' must be a string, not {value!r}.")
    return value
