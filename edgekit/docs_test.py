"""The examples in the documentation run and print what they say; generated pages are current."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the docs folder is not installed")

AFTER = {"writing_a_runtime.md": "writing_a_converter.md"}
"""Pages whose code goes on where that of another page ended."""

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)#:]+)\)")
NAMED = re.compile(r"`((?:edgekit|docs|examples|benchmarks)/[\w./]+)`")


def pages():
    return sorted(DOCS.glob("*.md")) if DOCS.is_dir() else []


def blocks(page, language):
    text = page.read_text(encoding="utf-8")
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def with_code():
    return [page.name for page in pages() if blocks(page, "python")]


def run(code, folder):
    script = folder / "page.py"
    script.write_text(code, encoding="utf-8")
    known = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script.name], cwd=folder, env=known, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", with_code())
def test_the_code_of_a_page_prints_what_the_page_says(name, tmp_path):
    chain = [DOCS / AFTER[name], DOCS / name] if name in AFTER else [DOCS / name]
    code = "\n".join(body for page in chain for body in blocks(page, "python"))
    said = "".join(body for page in chain for body in blocks(page, "output"))
    assert run(code, tmp_path) == said


def test_the_code_of_the_readme(tmp_path):
    """With a small model in the place of the one that it names."""
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("openvino")
    from edgekit.testing.models import save_small_cnn

    _, data = save_small_cnn(tmp_path)
    data.rename(tmp_path / "calibration.npz")
    code = "\n".join(blocks(ROOT / "README.md", "python"))
    assert "resnet8.h5" in code
    printed = run(code.replace("resnet8.h5", "cnn.onnx"), tmp_path)
    assert printed.count("verified") == 2


@pytest.mark.parametrize("name", [page.name for page in pages()])
def test_links_and_paths_lead_somewhere(name):
    text = (DOCS / name).read_text(encoding="utf-8")
    prose = BLOCK.sub("", text)
    missing = [link for link in LINK.findall(prose) if not (DOCS / link).exists()]
    missing += [path for path in NAMED.findall(text) if not (ROOT / path).exists()]
    assert not missing


def test_the_map_names_every_folder():
    text = (DOCS / "ARCHITECTURE.md").read_text(encoding="utf-8")
    folders = [
        f"{folder.relative_to(ROOT).as_posix()}/"
        for folder in (ROOT / "edgekit").rglob("*")
        if folder.is_dir() and any(folder.glob("*.py"))
    ]
    assert folders
    assert [name for name in folders if f"`{name}`" not in text] == []


def test_the_files_on_the_map_exist():
    text = (DOCS / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/]+/)` \|[^|]*\|([^|]*)\|$", text, re.M)
    named = [folder + file for folder, files in rows for file in re.findall(r"`([^`]+)`", files)]
    assert len(named) > len(rows)
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_the_layers_are_those_that_are_enforced():
    from edgekit.imports_test import LAYERS

    text = (DOCS / "ARCHITECTURE.md").read_text(encoding="utf-8")
    drawn = text.partition("## Layers")[2].partition("```text\n")[2].partition("```")[0]
    assert [set(line.split()) for line in drawn.splitlines()] == list(LAYERS)


def test_the_table_of_operators_is_current():
    pytest.importorskip("ai_edge_litert")
    done = subprocess.run(
        [sys.executable, str(DOCS / "generate_operators.py"), "--check"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
