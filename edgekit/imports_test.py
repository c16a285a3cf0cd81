"""Imports point one way, and importing EdgeKit loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent

LAYERS = (
    {"errors", "vocabulary", "progress", "cpu"},
    {"packages"},
    {"registry"},
    {"environment"},
    {"ir"},
    {"calibration", "runtimes"},
    {"passes"},
    {"frontends", "converters"},
    {"recipe", "bundle"},
    {"verification", "inspection", "building", "outcome"},
    {"compile"},
    {"sdk"},
    {"cli"},
)
"""A package may import at run time what stands on an earlier line or in its own folder.

The registry is a table of strings: it imports a plug-in only when it is asked for one.
"""

FREE = {"testing", "conftest", "__main__", "__init__"}
"""Packages for tests, and entry points."""

BACKENDS = ("converters", "runtimes", "frontends")


def modules():
    return [p for p in ROOT.rglob("*.py") if not p.name.endswith("_test.py")]


def top(path):
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checking = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in checking:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "edgekit":
                yield from (f"edgekit.{alias.name}" for alias in node.names)
            else:
                yield node.module


def layer(package):
    return next(i for i, names in enumerate(LAYERS) if package in names)


def test_every_package_has_a_layer():
    known = set().union(*LAYERS) | FREE
    assert {top(path) for path in modules()} <= known


def test_imports_point_one_way():
    wrong = []
    for path in modules():
        mine = top(path)
        if mine in FREE:
            continue
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "edgekit" or len(parts) < 2 or parts[1].startswith("__"):
                continue
            other = parts[1]
            if other == mine:
                continue
            if other in FREE or layer(other) >= layer(mine):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_backend_imports_a_sibling():
    wrong = []
    for path in modules():
        relative = path.relative_to(ROOT).parts
        if relative[0] not in BACKENDS or len(relative) < 3:
            continue
        for name in imports(path):
            parts = name.split(".")
            same = parts[:2] == ["edgekit", relative[0]] and len(parts) > 2
            if same and (ROOT / relative[0] / parts[2]).is_dir() and parts[2] != relative[1]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


HEAVY = (
    "numpy",
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "tensorflow",
    "keras",
    "torch",
    "openvino",
    "ai_edge_litert",
    "tensorrt",
    "tensorrt_rtx",
    "rich",
    "yaml",
    "jsonschema",
    "PIL",
)


@pytest.mark.parametrize(
    "code",
    [
        "import edgekit",
        "import edgekit.cli.main",
        "from edgekit.cli.main import run; run(['--help'])",
        "from edgekit.cli.main import run; run(['convert', '--help'])",
        "from edgekit.cli.main import run; run(['inspect', '--help'])",
        "from edgekit.cli.main import run; run(['doctor', '--help'])",
    ],
)
def test_help_loads_nothing_heavy(code):
    check = f"import sys; {code}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("module", ["edgekit.sdk", "edgekit.compile", "edgekit.inspection"])
def test_the_sdk_loads_no_training_framework(module):
    check = (
        f"import sys, {module}; "
        "print([m for m in ('tensorflow', 'keras', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
