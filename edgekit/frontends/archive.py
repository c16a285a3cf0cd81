"""Checks a zip archive before anyone else opens it: names, links, sizes, duplicates."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgekit.errors import ModelFileError

_CHUNK = 1 << 20
_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError)
"""What reading a damaged member raises."""


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may unpack to.

    Attributes:
        entries: how many members it may have.
        ratio: how many times its own size the members may unpack to.
        slack: bytes allowed on top of that, so that small archives of text pass.
    """

    entries: int = 20_000
    ratio: int = 50
    slack: int = 64 << 20

    def unpacked(self, archive_bytes: int) -> int:
        """Bytes that an archive of this size may unpack to."""
        return archive_bytes * self.ratio + self.slack


LIMITS = ArchiveLimits()


def check_archive(path: Path, limits: ArchiveLimits = LIMITS) -> tuple[zipfile.ZipInfo, ...]:
    """The members of an archive, once it is known that unpacking them is harmless.

    Args:
        path: the archive.
        limits: what it may unpack to.

    Raises:
        ModelFileError: if it is no zip, or a member is absolute, leaves the archive, is a link, is
            encrypted, has a name twice, or the whole unpacks to more than the limits allow.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = tuple(archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as e:
        raise ModelFileError(f"{path.name} is not a readable zip archive: {e}.") from e
    if len(members) > limits.entries:
        raise _refusal(path, f"it has {len(members)} members (limit {limits.entries})")
    seen: set[str] = set()
    for member in members:
        if why := _fault(member, seen):
            raise _refusal(path, f"member {member.filename!r} {why}")
        seen.add(member.filename)
    total = sum(member.file_size for member in members)
    allowed = limits.unpacked(path.stat().st_size)
    if total > allowed:
        raise _refusal(path, f"it would unpack to {total} bytes (limit {allowed})")
    return members


def read_member(path: Path, name: str, limit: int) -> bytes:
    """The content of one member.

    Args:
        path: an archive that passed `check_archive`.
        name: the member.
        limit: most bytes to accept.

    Raises:
        ModelFileError: if the member is missing, damaged or larger than the limit.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as f:
            content = f.read(limit + 1)
    except KeyError as e:
        raise ModelFileError(f"{path.name} has no member {name!r}.") from e
    except _DAMAGE as e:
        raise ModelFileError(f"member {name!r} of {path.name} is damaged: {e}.") from e
    if len(content) > limit:
        raise _refusal(path, f"member {name!r} is larger than {limit} bytes")
    return content


def extract_member(path: Path, name: str, target: Path) -> None:
    """Copy one member into a file.

    Args:
        path: an archive that passed `check_archive`.
        name: the member.
        target: the file to write.

    Raises:
        ModelFileError: if the member is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as f, target.open("wb") as sink:
            shutil.copyfileobj(f, sink, _CHUNK)
    except _DAMAGE as e:
        raise ModelFileError(f"member {name!r} of {path.name} is damaged: {e}.") from e


def repack(path: Path, members: tuple[zipfile.ZipInfo, ...], target: Path) -> None:
    """Write the checked members into a fresh archive that every zip reader reads alike.

    Two readers may find different members in one crafted file; what was checked here is then not
    what the other one loads.

    Args:
        path: an archive that passed `check_archive`.
        members: what `check_archive` returned.
        target: the archive to write, members stored without compression.

    Raises:
        ModelFileError: if a member is damaged.
    """
    try:
        with (
            zipfile.ZipFile(path) as source,
            zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as sink,
        ):
            for member in members:
                with source.open(member) as reader, sink.open(member.filename, "w") as writer:
                    shutil.copyfileobj(reader, writer, _CHUNK)
    except _DAMAGE as e:
        raise ModelFileError(f"{path.name} is damaged: {e}.") from e


def _fault(member: zipfile.ZipInfo, seen: set[str]) -> str:
    name = member.filename
    parts = PurePosixPath(name).parts
    if not name or name.startswith("/") or ":" in (parts[0] if parts else "") or "\\" in name:
        return "has an absolute name"
    if ".." in parts:
        return "leaves the archive"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a symbolic link"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if name in seen:
        return "occurs twice"
    return ""


def _refusal(path: Path, why: str) -> ModelFileError:
    return ModelFileError(
        f"{path.name} is refused before unpacking: {why}.",
        hint="save the model again from its framework; such an archive is damaged or hostile",
    )
