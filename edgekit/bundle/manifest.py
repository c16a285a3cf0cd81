"""The manifest: what was compiled from what, how it was checked, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from edgekit.errors import InputError, Reason
from edgekit.ir.signature import TensorSpec

VERSION = 1


@dataclass(frozen=True)
class File:
    """One file of an artifact.

    Attributes:
        path: relative to the bundle, with forward slashes.
        sha256: of its bytes, in hexadecimal.
        bytes: its size.
    """

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Port:
    """An input or output of an artifact.

    Attributes:
        spec: name, dtype, shape and layout.
        scale: with `zero_point`, how an int8 port maps to real values; None for a float one.
        zero_point: the stored value of real zero.
    """

    spec: TensorSpec
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class Verification:
    """How far an artifact, run on its runtime, is from the float model.

    Attributes:
        runtime: name and version.
        samples: how many were run.
        data: `calibration`, or `random` when there was no data.
        agreement: share of samples with the same top-1; None where there are no class scores.
        sqnr_db: signal to quantization noise over all float outputs; None without any noise.
        max_abs_error: greatest difference of any float output value.
    """

    runtime: str
    samples: int
    data: str
    agreement: float | None
    sqnr_db: float | None
    max_abs_error: float


@dataclass(frozen=True)
class Artifact:
    """One artifact.

    Attributes:
        target: what it is for.
        precision: its arithmetic.
        path: its main file, relative to the bundle; empty if none came out.
        sha256: of the main file.
        bytes: size of the main file and its data files, without engines made from them.
        status: `verified` (run and compared), `emitted` (not run here), or `failed`.
        inputs: what it takes, in order.
        outputs: what it gives, in order.
        files: every file, the main one first.
        verification: the comparison; None if it was not run.
        float_nodes: nodes of an INT8 artifact that stayed in float, with the reason.
        notes: what else a reader should know.
    """

    target: str
    precision: str
    path: str
    sha256: str
    bytes: int
    status: str
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    files: tuple[File, ...] = ()
    verification: Verification | None = None
    float_nodes: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """The whole document. Sections that only describe are kept as JSON objects."""

    edgekit: str
    source: Mapping[str, Any]
    options: Mapping[str, Any]
    environment: Mapping[str, Any]
    calibration: Mapping[str, Any] | None = None
    preprocessing: Mapping[str, Any] | None = None
    artifacts: tuple[Artifact, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The document that the JSON Schema describes."""
        return {
            "version": VERSION,
            "edgekit": self.edgekit,
            "source": dict(self.source),
            "options": dict(self.options),
            "environment": dict(self.environment),
            "calibration": None if self.calibration is None else dict(self.calibration),
            "preprocessing": None if self.preprocessing is None else dict(self.preprocessing),
            "artifacts": [_artifact_to_json(item) for item in self.artifacts],
        }

    @classmethod
    def from_json(cls, document: Any) -> Manifest:
        """Validate and read a document.

        Raises:
            InputError: if it is not what the JSON Schema asks for.
        """
        _validate(document)
        return cls(
            document["edgekit"],
            document["source"],
            document["options"],
            document["environment"],
            document["calibration"],
            document["preprocessing"],
            tuple(_artifact_from_json(item) for item in document["artifacts"]),
        )


_NOT_DEPLOYED = (".json", ".engine", ".plan")
"""Build recipes, and engines that are made from the main file."""


def deployed_bytes(files: Sequence[File]) -> int:
    """Size of the main file and of the data files that belong to it."""
    return sum(file.bytes for file in files if not file.path.endswith(_NOT_DEPLOYED))


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of manifest.json."""
    import json

    text = (files("edgekit.bundle") / "manifest.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _validate(document: Any) -> None:
    import jsonschema

    if isinstance(document, Mapping) and document.get("version") not in (None, VERSION):
        raise InputError(
            f"the manifest has version {document['version']!r}; this EdgeKit reads {VERSION}.",
            hint="use the EdgeKit release that wrote the bundle, or convert again",
        )
    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(json_schema()).iter_errors(document)
    )
    if error is not None:
        where = "/".join(str(part) for part in error.absolute_path) or "the top"
        raise InputError(f"the manifest is not valid at {where}: {error.message[:200]}")


def port_to_json(port: Port) -> dict[str, Any]:
    """A port as the manifest has it."""
    spec = port.spec
    return {
        "name": spec.name,
        "dtype": spec.dtype,
        "shape": list(spec.shape),
        "layout": None if spec.layout is None else str(spec.layout),
        "scale": port.scale,
        "zero_point": port.zero_point,
    }


def _port_from_json(item: Mapping[str, Any]) -> Port:
    from edgekit.vocabulary import Layout

    layout = None if item["layout"] is None else Layout(item["layout"])
    spec = TensorSpec(item["name"], item["dtype"], tuple(item["shape"]), layout)
    return Port(spec, item["scale"], item["zero_point"])


def _artifact_to_json(item: Artifact) -> dict[str, Any]:
    return {
        "target": item.target,
        "precision": item.precision,
        "path": item.path,
        "sha256": item.sha256,
        "bytes": item.bytes,
        "status": item.status,
        "inputs": [port_to_json(port) for port in item.inputs],
        "outputs": [port_to_json(port) for port in item.outputs],
        "files": [vars(file) for file in item.files],
        "verification": None if item.verification is None else dict(vars(item.verification)),
        "float_nodes": [dict(vars(reason)) for reason in item.float_nodes],
        "notes": list(item.notes),
    }


def _artifact_from_json(item: Mapping[str, Any]) -> Artifact:
    check = item["verification"]
    return Artifact(
        target=item["target"],
        precision=item["precision"],
        path=item["path"],
        sha256=item["sha256"],
        bytes=item["bytes"],
        status=item["status"],
        inputs=tuple(map(_port_from_json, item["inputs"])),
        outputs=tuple(map(_port_from_json, item["outputs"])),
        files=tuple(File(**file) for file in item["files"]),
        verification=None if check is None else Verification(**check),
        float_nodes=tuple(Reason(**reason) for reason in item["float_nodes"]),
        notes=tuple(item["notes"]),
    )
