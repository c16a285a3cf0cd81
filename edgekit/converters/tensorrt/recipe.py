"""`build.json`: how a plan is built from the ONNX file beside it, and what was proven of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx_ir

from edgekit.errors import InputError
from edgekit.ir.model import shape_of
from edgekit.ir.signature import Dim

VERSION = 1
"""Version of the document."""

TENSORRT_RANGE = ">=10.8,<12"
"""Versions of TensorRT that take opset 21 with strong typing."""

BATCH = (1, 1, 32)
"""Smallest, usual and largest size of a free batch axis."""

FREE = (1, 128, 1024)
"""The same for any other free axis, of which nothing is known."""


@dataclass(frozen=True)
class Profile:
    """The shapes that a dynamic input may take.

    Attributes:
        min: smallest.
        opt: the one that is optimized for.
        max: largest.
    """

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


@dataclass(frozen=True)
class Engine:
    """An engine that was built, and what its build log proves.

    Attributes:
        file: its name, beside `build.json`.
        builder: package and version.
        serves: the GPUs it runs on.
        int8_proven: nodes that the log shows as INT8 layers.
        int8_missing: nodes that were expected to be, and are not.
    """

    file: str
    builder: str
    serves: str
    int8_proven: tuple[str, ...] = ()
    int8_missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildRecipe:
    """What `build.json` says.

    Attributes:
        onnx: name of the ONNX file, beside `build.json`.
        precision: its arithmetic, which is written in the ONNX file itself.
        profiles: for each dynamic input its shapes.
        int8_layers: names of the nodes that must become INT8 layers.
        tensorrt: versions that can build it.
        engine: an engine that was built from it already.
    """

    onnx: str
    precision: str
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    int8_layers: tuple[str, ...] = ()
    tensorrt: str = TENSORRT_RANGE
    engine: Engine | None = None

    @property
    def plan(self) -> str:
        """Name of the plan that is built from it."""
        return f"{Path(self.onnx).stem}.plan"

    def with_engine(self, engine: Engine) -> BuildRecipe:
        """This with an engine that was built."""
        return replace(self, engine=engine)

    def to_json(self) -> dict[str, Any]:
        """This as a JSON object."""
        return {
            "version": VERSION,
            "onnx": self.onnx,
            "precision": self.precision,
            "strongly_typed": True,
            "tensorrt": self.tensorrt,
            "profiles": {
                name: {"min": list(p.min), "opt": list(p.opt), "max": list(p.max)}
                for name, p in self.profiles.items()
            },
            "int8_layers": list(self.int8_layers),
            "commands": {
                "edgekit": "python -m edgekit.converters.tensorrt.build build.json",
                "trtexec": self.trtexec(),
            },
            "engine": None if self.engine is None else _engine_json(self.engine),
        }

    def trtexec(self) -> str:
        """The command that builds the plan with TensorRT's own tool."""
        words = ["trtexec", f"--onnx={self.onnx}", f"--saveEngine={self.plan}", "--stronglyTyped"]
        for which in ("min", "opt", "max") if self.profiles else ():
            shapes = (
                f"{name}:{'x'.join(map(str, getattr(profile, which)))}"
                for name, profile in self.profiles.items()
            )
            words.append(f"--{which}Shapes={','.join(shapes)}")
        return " ".join(words)

    def save(self, path: Path) -> None:
        """Write the document."""
        path.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> BuildRecipe:
        """Read and check a document.

        Raises:
            InputError: if it is missing, damaged or of another version.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["version"] != VERSION:
                raise ValueError(f"version {document['version']} is not {VERSION}")
            return cls(
                onnx=_file_name(document["onnx"]),
                precision=str(document["precision"]),
                profiles={name: _profile(p) for name, p in document["profiles"].items()},
                int8_layers=tuple(map(str, document["int8_layers"])),
                tensorrt=str(document["tensorrt"]),
            )
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as e:
            raise InputError(f"'{path}' is no build recipe: {e!r}.") from e


def profiles_of(inputs: Iterable[onnx_ir.Value]) -> dict[str, Profile]:
    """Shapes for the inputs that have free axes."""
    shapes = {value.name or "": shape_of(value) for value in inputs}
    batch = {shape[0] for shape in shapes.values() if shape and isinstance(shape[0], str)}
    profiles = {}
    for name, shape in shapes.items():
        if all(isinstance(d, int) for d in shape):
            continue
        sizes = [_sizes(d, axis == 0 or d in batch) for axis, d in enumerate(shape)]
        low, usual, high = (tuple(s[i] for s in sizes) for i in range(3))
        profiles[name] = Profile(low, usual, high)
    return profiles


def _sizes(dim: Dim, is_batch: bool) -> tuple[int, int, int]:
    if isinstance(dim, int):
        return dim, dim, dim
    return BATCH if is_batch else FREE


def _profile(document: Mapping[str, Any]) -> Profile:
    low, usual, high = (tuple(map(int, document[key])) for key in ("min", "opt", "max"))
    if not len(low) == len(usual) == len(high):
        raise ValueError("min, opt and max of a profile have different ranks")
    if not all(0 < a <= b <= c for a, b, c in zip(low, usual, high, strict=True)):
        raise ValueError("a profile must have 0 < min <= opt <= max")
    return Profile(low, usual, high)


def _file_name(name: Any) -> str:
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(f"onnx must be the name of a file beside it, not {name!r}")
    return name


def _engine_json(engine: Engine) -> dict[str, Any]:
    return {
        "file": engine.file,
        "builder": engine.builder,
        "serves": engine.serves,
        "int8": {
            "proven": len(engine.int8_proven),
            "expected": len(engine.int8_proven) + len(engine.int8_missing),
            "missing": list(engine.int8_missing),
        },
    }
