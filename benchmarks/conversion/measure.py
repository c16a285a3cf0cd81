"""How long a conversion takes and how much memory, as a whole cold process, against peers.

    python benchmarks/conversion/measure.py [MODEL DATA] [--runs N] [--peer NAME='COMMAND']...

Each command is run in turn (ours, peer, ours, peer, ...), so that a machine whose speed drifts
drifts for all of them. Wall time is the median; memory is the largest process of the command.
Without MODEL and DATA, the demo's digits model is used.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

DEMO = Path(__file__).parents[2] / "examples" / "digits"
TARGETS = ("tflite", "openvino", "onnxruntime")


@dataclass
class Contender:
    """A command and what its runs took.

    Attributes:
        name: for the table.
        command: words, with `{model}`, `{data}` and `{out}` to be filled in.
        seconds: wall time of each run.
        mebibytes: largest resident set of each run.
    """

    name: str
    command: Sequence[str]
    seconds: list[float] = field(default_factory=list)
    mebibytes: list[float] = field(default_factory=list)

    def run(self, model: Path, data: Path) -> None:
        """Run once, in an empty folder, and note time and memory."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            words = [w.format(model=model, data=data, out=out) for w in self.command]
            began = time.monotonic()
            with subprocess.Popen(
                words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as process:
                assert process.stderr is not None
                tail = process.stderr.read()[-2000:]
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"{self.name} failed: {tail.decode(errors='replace')}")
            self.seconds.append(time.monotonic() - began)
            self.mebibytes.append(usage.ru_maxrss / 1024)


def ours() -> Contender:
    """`edgekit convert -p int8` with 256 samples for the three targets that run on a CPU."""
    words = [sys.executable, "-m", "edgekit", "convert", "{model}", "-p", "int8", "-c", "{data}"]
    for target in TARGETS:
        words += ["-t", target]
    return Contender("edgekit int8 x3, verified", [*words, "--samples", "256", "-o", "{out}"])


def demo_files(folder: Path) -> tuple[Path, Path]:
    """The demo's model and calibration data."""
    import numpy as np

    sys.path.insert(0, str(DEMO))
    from dataset import digits

    data = folder / "digits.npz"
    np.savez(data, image=digits()[0][:256])
    return DEMO / "digits.keras", data


def main() -> None:
    """Run everything, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="MODEL DATA")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME='COMMAND'")
    options = parser.parse_args()
    if len(options.files) not in (0, 2):
        parser.error("give both MODEL and DATA, or neither")
    contenders = [ours()]
    for text in options.peer:
        name, _, command = text.partition("=")
        contenders.append(Contender(name, shlex.split(command)))
    with tempfile.TemporaryDirectory() as folder:
        files = [f.resolve() for f in options.files] or demo_files(Path(folder))
        for _ in range(options.runs):
            for contender in contenders:
                contender.run(*files)
    report(contenders, files[0].name, options.runs)


def report(contenders: Sequence[Contender], model: str, runs: int) -> None:
    """Print medians, spreads and the ratio to ours."""
    first = statistics.median(contenders[0].seconds)
    print(f"{model}, {runs} cold runs each, {os.cpu_count()} cores")
    print(f"{'':28}{'wall s':>8}{'min':>8}{'max':>8}{'peak MiB':>10}{'wall / ours':>13}")
    for c in contenders:
        wall = statistics.median(c.seconds)
        print(
            f"{c.name:28}{wall:8.2f}{min(c.seconds):8.2f}{max(c.seconds):8.2f}"
            f"{statistics.median(c.mebibytes):10.0f}{wall / first:13.1f}"
        )


if __name__ == "__main__":
    main()
