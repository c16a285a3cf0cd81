"""The versioned, validated description of one compile, from YAML or Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edgekit.errors import UsageError
from edgekit.ir.preprocessing import Preprocessing
from edgekit.vocabulary import CpuPolicy, IoType, Layout, Precision, Target, Word

VERSION = 1
DEFAULT_SAMPLES = 256


@dataclass(frozen=True)
class Override:
    """Keep some nodes in float.

    Attributes:
        keep_float: an operator type (`Softmax`), a node name, or a shell pattern of node names.
        targets: the targets it holds for; empty for all.
    """

    keep_float: str
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """What to compile a model into, and how.

    Attributes:
        targets: one artifact is emitted for each.
        precision: arithmetic of the artifacts.
        calibration: path of the calibration data, or `package.module:function`.
        samples: at most this many calibration samples are used.
        observer: how ranges are chosen from the statistics; None takes the default.
        preprocessing: how picture files become input tensors.
        io: type of the artifacts' inputs and outputs.
        io_layout: axis order of their images; None keeps the source's.
        cpu: which x86 CPUs INT8 artifacts must be exact on.
        overrides: nodes to keep in float.
        allow_code: run code stored in the model file.
    """

    targets: tuple[Target, ...] = tuple(Target)
    precision: Precision = Precision.FP32
    calibration: str | None = None
    samples: int = DEFAULT_SAMPLES
    observer: str | None = None
    preprocessing: Preprocessing | None = None
    io: IoType = IoType.FLOAT
    io_layout: Layout | None = None
    cpu: CpuPolicy = CpuPolicy.PORTABLE
    overrides: tuple[Override, ...] = ()
    allow_code: bool = False

    def __post_init__(self) -> None:
        if not self.targets:
            raise UsageError("a recipe needs at least one target.", hint=_choices(Target))
        if len(set(self.targets)) != len(self.targets):
            raise UsageError("a target is named twice.")
        if self.samples < 1:
            raise UsageError(f"samples is {self.samples}; it must be at least 1.")
        if self.io is IoType.INT8 and self.precision is not Precision.INT8:
            raise UsageError(
                f"--io int8 needs --precision int8, not {self.precision}.",
                hint="drop --io int8, or convert with -p int8",
            )

    def with_options(self, **options: Any) -> Recipe:
        """A copy with those options that are not None."""
        return replace(self, **{key: v for key, v in options.items() if v is not None})

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read a YAML file. A relative calibration path counts from the file's folder.

        Raises:
            UsageError: if the file is missing, not YAML, or not a valid recipe.
        """
        import yaml

        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as e:
            raise UsageError(f"cannot read the recipe '{path}': {e}.") from e
        except yaml.YAMLError as e:
            raise UsageError(f"the recipe '{path}' is not valid YAML: {e}") from e
        try:
            recipe = cls.from_json(document)
        except UsageError as e:
            raise UsageError(f"recipe '{path}': {e.message}", hint=e.hint) from e
        data = recipe.calibration
        if data is not None and (path.parent / data).exists():
            return replace(recipe, calibration=str(path.parent / data))
        return recipe

    @classmethod
    def from_json(cls, document: Any) -> Recipe:
        """Validate a document as YAML or JSON gives it.

        Raises:
            UsageError: on a missing version, an unknown key or a value of the wrong kind.
        """
        if not isinstance(document, Mapping):
            raise UsageError("a recipe is a mapping of keys to values.")
        known = {field.name for field in fields(cls)} | {"version"}
        unknown = sorted(map(str, set(document) - known))
        if unknown:
            raise UsageError(
                f"unknown keys: {', '.join(unknown)}.",
                hint=f"the keys are {', '.join(sorted(known))}",
            )
        if document.get("version") != VERSION:
            raise UsageError(
                f"version is {document.get('version')!r}.",
                hint=f"this EdgeKit reads 'version: {VERSION}'",
            )
        return cls(**{key: _READERS[key](v) for key, v in document.items() if key != "version"})


def _choices(words: type[Word]) -> str:
    return f"choose from {', '.join(map(str, words))}"


def _word(key: str, words: type[Word]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        try:
            return words(value)
        except ValueError:
            raise UsageError(f"{key} is {value!r}.", hint=_choices(words)) from None

    return read


def _kind(key: str, kind: type, what: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise UsageError(f"{key} is {value!r}; it must be {what}.")
        return value

    return read


def _targets(value: Any) -> tuple[Target, ...]:
    if not isinstance(value, list):
        raise UsageError(f"targets is {value!r}; it must be a list.", hint=_choices(Target))
    return tuple(_word("targets", Target)(item) for item in value)


def _overrides(value: Any) -> tuple[Override, ...]:
    if not isinstance(value, list):
        raise UsageError("overrides must be a list.", hint="- keep_float: Softmax")
    found = []
    for item in value:
        if (
            not isinstance(item, Mapping)
            or "keep_float" not in item
            or set(item) - {"keep_float", "targets"}
        ):
            raise UsageError(
                f"{item!r} is not an override.", hint="- keep_float: Softmax, with optional targets"
            )
        found.append(Override(str(item["keep_float"]), _targets(item.get("targets", []))))
    return tuple(found)


def _preprocessing(value: Any) -> Preprocessing:
    if not isinstance(value, Mapping):
        raise UsageError("preprocessing must be a mapping.")
    return Preprocessing.from_json(value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "targets": _targets,
    "precision": _word("precision", Precision),
    "calibration": _kind("calibration", str, "a path or package.module:function"),
    "samples": _kind("samples", int, "a whole number"),
    "observer": _kind("observer", str, "an observer's name"),
    "preprocessing": _preprocessing,
    "io": _word("io", IoType),
    "io_layout": _word("io_layout", Layout),
    "cpu": _word("cpu", CpuPolicy),
    "overrides": _overrides,
    "allow_code": _kind("allow_code", bool, "true or false"),
}
