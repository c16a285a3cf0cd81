"""Bounds-checked access to the tables of a flatbuffer.

The generated code trusts the file: a damaged offset makes it read somewhere else, or loop over
billions of elements. Here every offset is checked before it is followed, vectors are NumPy views
(no copy, no loop over elements), and the number of tables visited is bounded by the file's size,
so that a hostile file costs no more than an honest one of its size.

The format: https://flatbuffers.dev/internals (little endian; a table starts with the signed
distance to its vtable, which holds the offset of each field or 0 when the field is absent).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import ModelFileError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

Scalar = int | float | bool

_LONGEST_STRING = 1 << 16


class FlatBuffer:
    """A flatbuffer in memory.

    Args:
        data: the whole file.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self._tables_left = self.size

    @property
    def identifier(self) -> bytes:
        """The four letters that name the schema."""
        return bytes(self.data[4:8])

    def root(self) -> Table:
        """The root table.

        Raises:
            ModelFileError: if it lies outside the file.
        """
        return self.table_at(self.unpack("<I", 0))

    def table_at(self, position: int) -> Table:
        """The table at a position, its header checked."""
        self._tables_left -= 1
        if self._tables_left < 0:
            raise ModelFileError("the flatbuffer refers to the same tables over and over.")
        return Table(self, position)

    def unpack(self, form: str, position: int) -> Any:
        """One little-endian scalar."""
        self.check(position, struct.calcsize(form))
        return struct.unpack_from(form, self.data, position)[0]

    def vector(self, position: int, item_size: int) -> tuple[int, int]:
        """Position of the first element and length of the vector at `position`."""
        length = self.unpack("<I", position)
        self.check(position + 4, length * item_size)
        return position + 4, length

    def check(self, position: int, size: int) -> None:
        """Raise unless `size` bytes at `position` are inside the file."""
        if position < 0 or position + size > self.size:
            raise ModelFileError(
                f"the flatbuffer points to byte {position + size} of a file of {self.size} bytes."
            )


class Table:
    """One table; fields are addressed by their slot in the schema.

    Args:
        buffer: the flatbuffer that holds it.
        position: of its first byte.
    """

    __slots__ = ("_fields", "_vtable", "buffer", "position")

    def __init__(self, buffer: FlatBuffer, position: int) -> None:
        self.buffer = buffer
        self.position = position
        self._vtable = position - buffer.unpack("<i", position)
        vtable_size = buffer.unpack("<H", self._vtable)
        buffer.check(self._vtable, vtable_size)
        buffer.check(position, buffer.unpack("<H", self._vtable + 2))
        self._fields = (vtable_size - 4) // 2

    def field(self, slot: int) -> int | None:
        """Position of a field; None when it is absent."""
        if slot >= self._fields:
            return None
        offset = self.buffer.unpack("<H", self._vtable + 4 + 2 * slot)
        return self.position + offset if offset else None

    def scalar(self, slot: int, form: str, default: Scalar = 0) -> Any:
        """A number, in `struct` notation without the byte order."""
        position = self.field(slot)
        return default if position is None else self.buffer.unpack("<" + form, position)

    def int32(self, slot: int, default: int = 0) -> int:
        """A 32-bit signed integer."""
        return int(self.scalar(slot, "i", default))

    def target(self, slot: int) -> int | None:
        """Position that an offset field points to; None when it is absent."""
        position = self.field(slot)
        if position is None:
            return None
        return position + int(self.buffer.unpack("<I", position))

    def table(self, slot: int) -> Table | None:
        """A nested table."""
        position = self.target(slot)
        return None if position is None else self.buffer.table_at(position)

    def tables(self, slot: int) -> list[Table]:
        """A vector of tables; empty when it is absent."""
        position = self.target(slot)
        if position is None:
            return []
        first, length = self.buffer.vector(position, 4)
        places = range(first, first + 4 * length, 4)
        return [self.buffer.table_at(p + self.buffer.unpack("<I", p)) for p in places]

    def numbers(self, slot: int, dtype: DTypeLike) -> NDArray[Any] | None:
        """A vector of numbers as a read-only view; None when it is absent."""
        position = self.target(slot)
        if position is None:
            return None
        kind = np.dtype(dtype)
        first, length = self.buffer.vector(position, kind.itemsize)
        return np.frombuffer(self.buffer.data, kind, length, first)

    def integers(self, slot: int) -> tuple[int, ...]:
        """A vector of 32-bit integers; empty when it is absent."""
        values = self.numbers(slot, "<i4")
        return () if values is None else tuple(values.tolist())

    def text(self, slot: int) -> str:
        """A string; bytes that are not UTF-8 become a replacement character."""
        position = self.target(slot)
        if position is None:
            return ""
        first, length = self.buffer.vector(position, 1)
        if length > _LONGEST_STRING:
            raise ModelFileError(f"the flatbuffer holds a name of {length} bytes.")
        return bytes(self.buffer.data[first : first + length]).decode("utf-8", "replace")
