"""Builds engines from an ONNX file and its `build.json`.

    python -m edgekit.converters.tensorrt.build BUILD_JSON [PLAN]

makes a TensorRT plan, where TensorRT and an NVIDIA GPU are. TensorRT-RTX engines need no GPU to
be built; they are not plans, and are never called that.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.converters.tensorrt.layers import missing_int8, parse_layers
from edgekit.converters.tensorrt.recipe import BuildRecipe, Engine, Profile
from edgekit.environment import gpus
from edgekit.errors import EdgeKitError, MissingDependencyError, Reason, UnsupportedError
from edgekit.packages import version_of

TIMEOUT = 900.0
"""Seconds that a build may take."""

RTX_SUFFIX = ".rtx.engine"
"""End of the file names of TensorRT-RTX engines."""

RTX_SERVES = "NVIDIA RTX GPUs of compute capability 8.0, 8.6, 8.9, 12.0 and 12.1"
"""GPUs on which an RTX engine runs its INT8 layers in INT8 (7.5 would run them in float)."""


class BuildError(EdgeKitError):
    """TensorRT could not build an engine, or ran some of its INT8 layers in float."""


class NoGpuError(EdgeKitError):
    """A plan is built for the GPU of the machine that builds it, and there is none."""

    exit_code = 5


@dataclass(frozen=True)
class Parsed:
    """What TensorRT made of an ONNX file.

    Attributes:
        version: of the package.
        errors: nodes that its parser refuses.
        layers: the builder's message about the layers of the engine.
        failure: why no engine was built; empty when one was.
    """

    version: str
    errors: tuple[Reason, ...]
    layers: str
    failure: str


def build_plan(onnx: Path, build_json: Path, out: Path) -> Engine:
    """Build a TensorRT plan for the GPU of this machine.

    Args:
        onnx: the strongly typed ONNX file.
        build_json: its build recipe, which is updated with what was built.
        out: where to write the plan.

    Raises:
        MissingDependencyError: if TensorRT is not installed.
        NoGpuError: if there is no NVIDIA GPU.
        UnsupportedError: if TensorRT refuses nodes.
        BuildError: if no plan could be built, or an INT8 layer would run in float.
    """
    if not version_of("tensorrt"):
        raise MissingDependencyError(
            "tensorrt", extra="tensorrt", needed_for="building a TensorRT plan"
        )
    cards = gpus()
    if not cards:
        raise NoGpuError(
            "building a TensorRT plan needs an NVIDIA GPU, and this machine has none.",
            hint="run the command in build.json on the machine that will run the plan",
        )
    recipe = BuildRecipe.load(build_json)
    engine = _build("tensorrt", onnx, recipe, out, serves=cards[0])
    recipe.with_engine(engine).save(build_json)
    if engine.int8_missing:
        raise BuildError(
            f"TensorRT runs in float what should be INT8: {', '.join(engine.int8_missing)}.",
            hint=f"the plan is in '{out}' all the same; see the engine entry of build.json",
        )
    return engine


def build_rtx_engine(onnx: Path, recipe: BuildRecipe, out: Path) -> Engine:
    """Build a TensorRT-RTX engine ahead of time, on any x86 CPU.

    Raises:
        MissingDependencyError: if TensorRT-RTX is not installed.
        UnsupportedError: if its parser refuses nodes.
        BuildError: if no engine could be built.
    """
    if not version_of("tensorrt-rtx"):
        raise MissingDependencyError(
            "tensorrt-rtx", extra="tensorrt-rtx", needed_for="building a TensorRT-RTX engine"
        )
    return _build("tensorrt_rtx", onnx, recipe, out, serves=RTX_SERVES)


def parse_with_rtx(onnx: Path) -> tuple[Reason, ...]:
    """The nodes that TensorRT-RTX's parser refuses, which is the parser of TensorRT."""
    return _run("tensorrt_rtx", onnx, {}, None).errors


def _build(module: str, onnx: Path, recipe: BuildRecipe, out: Path, serves: str) -> Engine:
    package = module.replace("_", "-")
    parsed = _run(module, onnx, recipe.profiles, out)
    if parsed.errors:
        raise UnsupportedError(f"{package} refuses '{onnx.name}':", reasons=parsed.errors)
    if parsed.failure:
        raise BuildError(f"{package} cannot build '{onnx.name}': {without_noise(parsed.failure)}")
    missing = missing_int8(parse_layers(parsed.layers), recipe.int8_layers)
    proven = tuple(name for name in recipe.int8_layers if name not in missing)
    return Engine(out.name, f"{package} {parsed.version}", serves, proven, missing)


def _run(module: str, onnx: Path, profiles: Mapping[str, Profile], out: Path | None) -> Parsed:
    """Let a child process do it: its crashes and its one logger stay there."""
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        request, result = Path(scratch) / "request.json", Path(scratch) / "result.json"
        document = {
            "module": module,
            "onnx": str(onnx.absolute()),
            "profiles": {name: asdict(profile) for name, profile in profiles.items()},
            "engine": None if out is None else str(out.absolute()),
        }
        request.write_text(json.dumps(document), encoding="utf-8")
        worker = "edgekit.converters.tensorrt.worker"
        command = [sys.executable, "-m", worker, str(request), str(result)]
        _wait(command, module, onnx)
        answer = json.loads(result.read_text(encoding="utf-8"))
    errors = tuple(_reason(error) for error in answer["errors"])
    return Parsed(answer["version"], errors, answer["layers"], answer["failure"])


def _wait(command: list[str], module: str, onnx: Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as e:
        raise BuildError(f"{module} is not done with '{onnx.name}' after {TIMEOUT:g} s.") from e
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        words = lines[-1] if lines else f"exit code {done.returncode}"
        raise BuildError(f"{module} crashed on '{onnx.name}': {words}")


def _reason(error: Mapping[str, Any]) -> Reason:
    node, op = error["node"] or "graph", error["op"] or "graph"
    return Reason(node, op, f"TensorRT's parser says: {without_noise(error['message'])}")


def without_noise(message: str) -> str:
    """A message of TensorRT without what only says that this machine has no GPU.

    Any failure on such a machine drags the failed look for a driver along, and every sentence
    ends in a place in TensorRT's sources.
    """
    for noise in (_NO_DRIVER, _NODE_AGAIN, _PLACE):
        message = noise.sub("", message)
    return " ".join(message.split()).strip()


_NO_DRIVER = re.compile(
    r"(?:\[checkMacros[^\]]*\]\s*)?Error Code 1: Cuda Runtime \((?:In catchCudaError at \S+ )?"
    r"\(?(?:cudaError \d+: )?CUDA driver version is insufficient[^)]*\)*"
)
_NODE_AGAIN = re.compile(r"ErrorCode\.\w+: (?=\w+ Node - )")
_PLACE = re.compile(r"\.? In \w+ at /\S+?:\d+(?=\)|\s|$)")


def main(arguments: list[str]) -> int:
    """Entry point of the command; gives the exit code."""
    if not 1 <= len(arguments) <= 2:
        sys.stderr.write("usage: python -m edgekit.converters.tensorrt.build BUILD_JSON [PLAN]\n")
        return 2
    path = Path(arguments[0])
    try:
        recipe = BuildRecipe.load(path)
        out = Path(arguments[1]) if len(arguments) > 1 else path.with_name(recipe.plan)
        engine = build_plan(path.with_name(recipe.onnx), path, out)
    except EdgeKitError as e:
        sys.stderr.write(f"error: {e}\n")
        return e.exit_code
    sys.stdout.write(f"{out}: {len(engine.int8_proven)} INT8 layers, {engine.builder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
