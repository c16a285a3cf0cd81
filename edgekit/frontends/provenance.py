"""Where a model came from: its artifact name, its hash and its `Source`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from edgekit.errors import ModelFileError
from edgekit.ir import Source

_CHUNK = 1 << 20
_NAME_LIMIT = 100


def artifact_name(text: str) -> str:
    """A file name that is safe on every system: only `[A-Za-z0-9._-]`, no leading dot or dash.

    Args:
        text: any name, such as a file name without its suffix.
    """
    clean = re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip("._-").rstrip("._")
    return clean[:_NAME_LIMIT].rstrip("._") or "model"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; of a folder, over the relative names and contents of its sorted files.

    Raises:
        ModelFileError: if a file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        if path.is_file():
            _feed(digest, path)
        else:
            for file in _files(path):
                digest.update(file.relative_to(path).as_posix().encode() + b"\0")
                _feed(digest, file)
    except OSError as e:
        raise ModelFileError(f"{path.name} cannot be read: {e.strerror or e}.") from e
    return digest.hexdigest()


def file_source(path: Path, frontend: str, version: str, notes: tuple[str, ...] = ()) -> Source:
    """The provenance of a model read from a file or folder.

    Args:
        path: what was read.
        frontend: name of the frontend that read it.
        version: version of the package that understood the format.
        notes: what the reader should know.
    """
    stem = path.resolve().name if path.is_dir() else path.stem
    name = path.name or path.resolve().name
    return Source(artifact_name(stem), name, sha256_of(path), frontend, version, notes)


def _files(folder: Path) -> Iterator[Path]:
    return iter(sorted(p for p in folder.rglob("*") if p.is_file()))


def _feed(digest: hashlib._Hash, path: Path) -> None:
    with path.open("rb") as f:
        while chunk := f.read(_CHUNK):
            digest.update(chunk)
