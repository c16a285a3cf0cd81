"""A folder of artifacts with its manifest, read with distrust."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from edgekit.bundle.manifest import Artifact, File, Manifest
from edgekit.errors import InputError, UsageError

MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 64 << 20


@dataclass(frozen=True)
class Bundle:
    """What `edgekit convert` wrote.

    Attributes:
        path: the folder.
        manifest: its description.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Open a bundle folder.

        Raises:
            InputError: if there is no bundle, its manifest is damaged, or a path in it leads
                out of the folder.
        """
        folder = Path(path)
        file = folder / MANIFEST
        if not file.is_file():
            raise InputError(
                f"'{folder}' is not a bundle: it has no {MANIFEST}.",
                hint="give the folder that `edgekit convert -o` wrote",
            )
        if file.stat().st_size > _MANIFEST_LIMIT:
            raise InputError(f"'{file}' is too large for a manifest.")
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as e:
            raise InputError(f"'{file}' cannot be read: {e}.") from e
        manifest = Manifest.from_json(document)
        bundle = cls(folder, manifest)
        for artifact in manifest.artifacts:
            for relative in (artifact.path, *(file.path for file in artifact.files)):
                if relative:
                    bundle.resolve(relative)
        return bundle

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The artifacts in the order of the manifest."""
        return self.manifest.artifacts

    def artifact(self, target: str) -> Artifact:
        """The artifact of a target.

        Raises:
            UsageError: if the bundle has none.
        """
        for item in self.artifacts:
            if item.target == str(target):
                return item
        have = ", ".join(item.target for item in self.artifacts) or "no targets"
        raise UsageError(f"the bundle has no artifact for '{target}'.", hint=f"it has {have}")

    def resolve(self, relative: str) -> Path:
        """Full path of a file named in the manifest.

        Raises:
            InputError: if the name leads out of the bundle.
        """
        parts = PurePosixPath(relative)
        full = (self.path / parts).resolve()
        inside = full.is_relative_to(self.path.resolve())
        if parts.is_absolute() or ".." in parts.parts or "\\" in relative or not inside:
            raise InputError(f"'{relative}' in the manifest leads out of the bundle.")
        return full

    def with_artifact(self, artifact: Artifact) -> Bundle:
        """Replace an artifact's record, in the manifest on disk too."""
        others = [artifact if a.target == artifact.target else a for a in self.artifacts]
        bundle = Bundle(self.path, replace(self.manifest, artifacts=tuple(others)))
        text = json.dumps(bundle.manifest.to_json(), indent=2, allow_nan=False) + "\n"
        fresh = self.path / f".{MANIFEST}.new"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.path / MANIFEST)
        return bundle

    def check(self) -> None:
        """Compare every file with its hash.

        Raises:
            InputError: naming the file that is missing or changed.
        """
        for artifact in self.artifacts:
            for file in artifact.files:
                full = self.resolve(file.path)
                if not full.is_file():
                    raise InputError(f"'{file.path}' is missing from the bundle.")
                if sha256_of(full) != file.sha256:
                    raise InputError(
                        f"'{file.path}' is not the file that was written: its hash differs.",
                        hint="convert again",
                    )


def file_record(folder: Path, path: Path) -> File:
    """What the manifest says of a file inside a bundle's folder."""
    return File(path.relative_to(folder).as_posix(), sha256_of(path), path.stat().st_size)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
