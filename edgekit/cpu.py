"""What the CPU is and which of its instructions matter to quantized inference."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

X86_FEATURES: Mapping[str, str] = MappingProxyType(
    {
        "avx2": "avx2",
        "fma": "fma",
        "f16c": "f16c",
        "avx512f": "avx512f",
        "avx512_vnni": "avx512_vnni",
        "avx_vnni": "avx_vnni",
        "avx512_bf16": "avx512_bf16",
        "avx512_fp16": "avx512_fp16",
        "amx_tile": "amx_tile",
        "amx_int8": "amx_int8",
        "amx_bf16": "amx_bf16",
    }
)
"""Flags of `/proc/cpuinfo` on x86, and what we call them."""

ARM_FEATURES: Mapping[str, str] = MappingProxyType(
    {
        "asimd": "neon",
        "neon": "neon",
        "asimdhp": "fp16",
        "asimddp": "dotprod",
        "i8mm": "i8mm",
        "bf16": "bf16",
        "sve": "sve",
        "sve2": "sve2",
        "sme": "sme",
    }
)
"""The same on ARM."""

MAC_FEATURES: Mapping[str, str] = MappingProxyType(
    {
        "hw.optional.neon": "neon",
        "hw.optional.AdvSIMD": "neon",
        "hw.optional.arm.FEAT_FP16": "fp16",
        "hw.optional.arm.FEAT_DotProd": "dotprod",
        "hw.optional.arm.FEAT_I8MM": "i8mm",
        "hw.optional.arm.FEAT_BF16": "bf16",
        "hw.optional.arm.FEAT_SME": "sme",
        "hw.optional.avx2_0": "avx2",
        "hw.optional.avx512f": "avx512f",
        "hw.optional.avx512vnni": "avx512_vnni",
    }
)
"""Keys of `sysctl hw.optional` on macOS, and what we call them."""

_INT8_DOT = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
_X86 = frozenset({"x86_64", "amd64", "i686", "i386"})


@dataclass(frozen=True)
class Cpu:
    """A processor.

    Attributes:
        model: its name as the system tells it.
        architecture: such as `x86_64` or `aarch64`.
        cores: logical cores that this process may use.
        features: instruction sets that matter here, sorted.
    """

    model: str
    architecture: str
    cores: int
    features: tuple[str, ...]

    @property
    def vnni(self) -> bool:
        """Whether x86 code can add int8 products in 32 bits."""
        return not _INT8_DOT.isdisjoint(self.features)

    @property
    def saturates_int8(self) -> bool:
        """Whether int8 kernels add pairs of products in 16 bits, so that large ones are cut off."""
        return self.architecture.lower() in _X86 and not self.vnni


@cache
def cpu() -> Cpu:
    """The processor of this machine."""
    architecture = platform.machine()
    if platform.system() == "Darwin":
        model, features = parse_sysctl(_sysctl())
    else:
        model, features = parse_cpuinfo(_read(Path("/proc/cpuinfo")))
    return Cpu(model or platform.processor() or architecture, architecture, _cores(), features)


def parse_cpuinfo(text: str) -> tuple[str, tuple[str, ...]]:
    """Model name and features of the first core in the text of `/proc/cpuinfo`."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().lower(), value.strip())
    if "flags" in fields:
        flags, known = fields["flags"], X86_FEATURES
    else:
        flags, known = fields.get("features", ""), ARM_FEATURES
    model = fields.get("model name") or fields.get("hardware") or ""
    return model, tuple(sorted({known[flag] for flag in flags.split() if flag in known}))


def parse_sysctl(text: str) -> tuple[str, tuple[str, ...]]:
    """Model name and features in the `key: value` lines of macOS' `sysctl`."""
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    features = {name for key, name in MAC_FEATURES.items() if fields.get(key, "").strip() == "1"}
    return fields.get("machdep.cpu.brand_string", "").strip(), tuple(sorted(features))


def _sysctl() -> str:
    command = ["sysctl", "machdep.cpu.brand_string", "hw.optional"]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
