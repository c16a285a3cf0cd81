"""Reads rows of NumPy files in order, without holding an array in memory."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from edgekit.errors import DataError

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    SyntaxError,
    TypeError,
)
"""What the zip and NumPy readers raise on damaged files."""

_BOMB_BYTES = 1 << 30
_BOMB_RATIO = 200
"""An archive that expands by more than this, past that many bytes, is refused."""

_WHOLE_LIMIT = 1 << 30
"""Bytes up to which an array in Fortran order, which cannot be streamed by rows, is loaded."""


@dataclass(frozen=True)
class Header:
    """What the start of a `.npy` says.

    Attributes:
        shape: of the array.
        dtype: of its elements.
        fortran: whether the first axis varies fastest.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool


class NpzFile:
    """The arrays of an `.npz`, read by rows.

    Args:
        path: the file.

    Raises:
        DataError: if it is not a readable `.npz`, holds Python objects, or would expand
            implausibly.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.headers: dict[str, Header] = {}
        with damage_named(path), zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            _refuse_bomb(path, members)
            for member in members:
                name = member.filename[: -len(".npy")]
                with archive.open(member) as stream:
                    header = read_header(stream, path, name)
                    size = stream.tell() + prod(header.shape) * header.dtype.itemsize
                if size != member.file_size:
                    raise DataError(f"'{path}': array '{name}' is truncated or damaged.")
                self.headers[name] = header
        if not self.headers:
            raise DataError(f"'{path}' holds no arrays.")

    def rows(self, name: str, step: int) -> Iterator[NDArray[Any]]:
        """Consecutive blocks of at most `step` rows of one array."""
        header = self.headers[name]
        with (
            damage_named(self.path),
            zipfile.ZipFile(self.path) as archive,
            archive.open(f"{name}.npy") as stream,
        ):
            read_header(stream, self.path, name)
            if header.fortran and len(header.shape) > 1:
                whole = _read_fortran(stream, header, self.path, name)
                yield from (whole[i : i + step] for i in range(0, header.shape[0], step))
                return
            row = prod(header.shape[1:]) * header.dtype.itemsize
            for start in range(0, header.shape[0], step):
                count = min(step, header.shape[0] - start)
                yield _block(stream, row * count, header, count)

    def load(self, name: str) -> NDArray[Any]:
        """All of one small array."""
        blocks = list(self.rows(name, max(1, self.headers[name].shape[0])))
        return blocks[0] if blocks else np.empty(self.headers[name].shape, self.headers[name].dtype)


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn a reader's exception into a `DataError` that names the file."""
    try:
        yield
    except _DAMAGE as e:
        raise DataError(
            f"'{path}' is damaged or not what its suffix says: {str(e) or type(e).__name__}."
        ) from e


def read_header(stream: IO[bytes], path: Path, name: str) -> Header:
    """Read the header of a `.npy` stream; the stream is left at the first element.

    Raises:
        DataError: if the array holds Python objects or is a single value.
    """
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject or dtype.kind not in "biufSU":
        raise DataError(
            f"'{path}': array '{name}' holds {dtype} values; only numbers are read.",
            hint="Python objects would have to be unpickled, which can run code",
        )
    if not shape or min(shape) < 0:
        raise DataError(f"'{path}': array '{name}' has no axis of samples.")
    return Header(tuple(shape), dtype, bool(fortran))


def _refuse_bomb(path: Path, members: list[zipfile.ZipInfo]) -> None:
    expanded = sum(m.file_size for m in members)
    packed = sum(m.compress_size for m in members) or 1
    if expanded > _BOMB_BYTES and expanded / packed > _BOMB_RATIO:
        raise DataError(
            f"'{path}' expands from {packed:,} to {expanded:,} bytes; it is not read.",
            hint="store the arrays uncompressed with numpy.savez",
        )
    for member in members:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"'{path}': '{member.filename}' uses a compression NumPy never writes.")


def _read_fortran(stream: IO[bytes], header: Header, path: Path, name: str) -> NDArray[Any]:
    size = prod(header.shape) * header.dtype.itemsize
    if size > _WHOLE_LIMIT:
        raise DataError(
            f"'{path}': array '{name}' is in Fortran order, which cannot be streamed.",
            hint="save it with numpy.ascontiguousarray",
        )
    return _exactly(stream, size, header.dtype).reshape(header.shape[::-1]).T


def _block(stream: IO[bytes], size: int, header: Header, count: int) -> NDArray[Any]:
    return _exactly(stream, size, header.dtype).reshape(count, *header.shape[1:])


def _exactly(stream: IO[bytes], size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError("the file ends too early")
    return np.frombuffer(data, dtype)
