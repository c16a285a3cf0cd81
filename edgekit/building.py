"""From a bundle's TensorRT artifact to a plan for the GPU of this machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.bundle import Bundle
from edgekit.bundle.bundle import file_record
from edgekit.errors import InputError
from edgekit.vocabulary import Target

BUILD = "build.json"


@dataclass(frozen=True)
class Built:
    """A plan that was built.

    Attributes:
        path: the plan.
        int8_layers: how many layers run in INT8, as expected.
        serves: the GPU that the plan is for.
    """

    path: Path
    int8_layers: int
    serves: str


def build(folder: Path) -> Built:
    """Build the plan of a bundle, beside its ONNX file, and note it in the manifest.

    Args:
        folder: the bundle.

    Raises:
        InputError: if the bundle is damaged or has no TensorRT artifact.
        MissingDependencyError: if TensorRT is not installed.
        EdgeKitError: if there is no NVIDIA GPU, or no plan could be built.
    """
    from edgekit.converters.tensorrt.build import build_plan

    bundle = Bundle.open(folder)
    bundle.check()
    artifact = bundle.artifact(Target.TENSORRT)
    if not artifact.path:
        raise InputError("the bundle's TensorRT artifact failed; there is nothing to build.")
    onnx = bundle.resolve(artifact.path)
    plan = onnx.with_suffix(".plan")
    engine = build_plan(onnx, onnx.with_name(BUILD), plan)
    root = bundle.path.resolve()
    kept = [onnx, *(bundle.resolve(f.path) for f in artifact.files if f.path != artifact.path)]
    files = tuple(file_record(root, path) for path in dict.fromkeys([*kept, plan]))
    note = f"'{plan.name}' was built for {engine.serves}"
    bundle.with_artifact(replace(artifact, files=files, notes=(*artifact.notes, note)))
    return Built(plan, len(engine.int8_proven), engine.serves)
