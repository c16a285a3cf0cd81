"""Facts about this machine and installation: for the manifest and for `edgekit doctor`."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgekit import registry
from edgekit.cpu import Cpu, cpu
from edgekit.packages import version_of

EXTRAS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "tflite": ("ai-edge-litert", "flatbuffers"),
        "openvino": ("openvino",),
        "keras": ("tensorflow", "tf-keras", "tf2onnx"),
        "torch": ("torch", "onnxscript"),
        "tensorrt": ("tensorrt",),
        "tensorrt-rtx": ("tensorrt-rtx",),
    }
)
"""The distributions that each extra of EdgeKit brings."""

PACKAGES: tuple[str, ...] = (
    "edgekit",
    "numpy",
    "ml-dtypes",
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "onnxruntime-gpu",
    "tflite-runtime",
    "keras",
    *(name for names in EXTRAS.values() for name in names),
)
"""Distributions whose versions can change an artifact or its outputs."""

_NVIDIA = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Environment:
    """Where artifacts were made and measured.

    Attributes:
        os: name and release of the operating system.
        python: version of the interpreter.
        packages: versions of those of `PACKAGES` that are installed.
        cpu: the processor.
        memory: bytes of physical memory; 0 where the system does not tell.
        gpus: names of the NVIDIA GPUs.
    """

    os: str
    python: str
    packages: Mapping[str, str]
    cpu: Cpu
    memory: int
    gpus: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """This as a JSON object."""
        return {
            "os": self.os,
            "python": self.python,
            "packages": dict(self.packages),
            "cpu": {**asdict(self.cpu), "features": list(self.cpu.features)},
            "memory": self.memory,
            "gpus": list(self.gpus),
        }


def environment() -> Environment:
    """Look at this machine; nothing heavy is imported."""
    found = {name: version_of(name) for name in PACKAGES}
    return Environment(
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages={name: version for name, version in found.items() if version},
        cpu=cpu(),
        memory=_memory(),
        gpus=gpus(),
    )


def gpus() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs that the driver shows; no process is started for it."""
    if _NVIDIA.is_dir():
        return tuple(_gpu_name(path) for path in sorted(_NVIDIA.glob("*/information")))
    # Windows and WSL have no such folder; there the tool comes with the driver.
    return ("NVIDIA GPU",) if shutil.which("nvidia-smi") else ()


def _gpu_name(information: Path) -> str:
    try:
        lines = information.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return names[0] if names else "NVIDIA GPU"


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


class Kind(str, Enum):
    """What a finding of `doctor` is about."""

    FRONTEND = "frontend"
    CONVERTER = "converter"
    RUNTIME = "runtime"
    EXTRA = "extra"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Finding:
    """What `doctor` found out about one part of the installation.

    Attributes:
        kind: frontend, converter, runtime or extra.
        name: its name.
        usable: whether it works on this machine.
        version: of the packages behind it; empty when they are absent.
        detail: what serves it, or what is missing.
        install: the pip line that brings what is missing; empty when pip cannot help.
    """

    kind: Kind
    name: str
    usable: bool
    version: str
    detail: str
    install: str


def doctor() -> list[Finding]:
    """Every frontend, converter, runtime and extra: found or not, and what to do."""
    findings = [_part(Kind.FRONTEND, name, entry) for name, entry in registry.FRONTENDS.items()]
    findings += [_part(Kind.CONVERTER, name, entry) for name, entry in registry.CONVERTERS.items()]
    findings += [_runtime(name) for name in registry.RUNTIMES]
    findings += [_extra(name) for name in EXTRAS]
    return findings


def pip_line(extra: str) -> str:
    """The command that installs an extra; empty for the core, which is there."""
    return f"pip install 'edgekit[{extra}]'" if extra else ""


_WRITES_WITHOUT = frozenset({"tensorrt"})
"""Converters whose artifact is written without the packages of their extra."""


def _part(kind: Kind, name: str, entry: registry.Entry) -> Finding:
    extra = entry.extra
    if kind is Kind.CONVERTER and name in _WRITES_WITHOUT:
        extra = ""
    version, missing = _packages(extra)
    if not extra:
        version = version_of("onnxruntime" if name == "onnxruntime" else "onnx")
    detail = f"{entry.does}; missing: {', '.join(missing)}" if missing else entry.does
    return Finding(kind, name, not missing, version, detail, pip_line(extra) if missing else "")


def _runtime(name: str) -> Finding:
    found = registry.runtime(name).probe()
    install = "" if found.installed else pip_line(found.extra)
    return Finding(Kind.RUNTIME, name, found.usable, found.version, found.detail, install)


def _extra(name: str) -> Finding:
    version, missing = _packages(name)
    detail = f"missing: {', '.join(missing)}" if missing else "installed"
    install = pip_line(name) if missing else ""
    return Finding(Kind.EXTRA, name, not missing, version, detail, install)


def _packages(extra: str) -> tuple[str, tuple[str, ...]]:
    """Version of the first package of an extra, and the packages that are missing."""
    names = EXTRAS.get(extra, ())
    missing = tuple(name for name in names if not version_of(name))
    return (version_of(names[0]) if names else ""), missing
