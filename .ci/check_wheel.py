"""Checks a wheel: no tests or stray folders inside, and every --help works without extras.

python .ci/check_wheel.py WHEEL_FOLDER EDGEKIT_COMMAND
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

COMMANDS = ((), ("convert",), ("inspect",), ("doctor",), ("build",))


def main() -> int:
    """Print what is wrong; 1 if anything is."""
    folder, command = Path(sys.argv[1]), sys.argv[2]
    (wheel,) = folder.glob("edgekit-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    problems = [f"stray file in the wheel: {n}" for n in names if n.endswith("_test.py")]
    problems += [
        f"outside the package: {n}" for n in names if not n.startswith(("edgekit/", "edgekit-"))
    ]
    needed = ("edgekit/py.typed", "edgekit/bundle/manifest.schema.json")
    problems += [f"missing from the wheel: {n}" for n in needed if n not in names]
    for words in COMMANDS:
        done = subprocess.run(
            [command, *words, "--help"], capture_output=True, text=True, check=False
        )
        if done.returncode or "Usage" not in done.stdout:
            problems.append(f"edgekit {' '.join(words)} --help: {done.stderr[-300:]}")
    done = subprocess.run([command, "doctor"], capture_output=True, text=True, check=False)
    if done.returncode or "pip install 'edgekit[tflite]'" not in done.stdout:
        problems.append(f"edgekit doctor names no pip line: {done.stdout}{done.stderr[-300:]}")
    print("\n".join(problems) or f"{wheel.name}: fine ({len(names)} files)")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
