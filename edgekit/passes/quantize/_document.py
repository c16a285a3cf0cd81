"""Reads JSON objects with messages that say where they are wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgekit.errors import InputError


class Reader:
    """A view of one JSON object.

    Args:
        document: what the JSON parser gave.
        where: what it is called in messages.

    Raises:
        InputError: from every method, when the value asked for is missing or of another kind.
    """

    def __init__(self, document: Any, where: str) -> None:
        if not isinstance(document, Mapping):
            raise InputError(f"{where} must be a JSON object.")
        self._values = document
        self._where = where

    def require(self, holds: bool, message: str) -> None:
        """Raise with `message` unless the condition holds."""
        if not holds:
            raise InputError(f"{self._where}: {message}.")

    def text(self, key: str) -> str:
        """A string; empty when absent."""
        value = self._values.get(key, "")
        self.require(isinstance(value, str), f"'{key}' must be a string, not {value!r}")
        return str(value)

    def word(self, key: str, allowed: Sequence[str]) -> str:
        """One of a closed set of strings."""
        value = self.text(key)
        self.require(value in allowed, f"'{key}' must be one of {', '.join(allowed)}")
        return value

    def boolean(self, key: str) -> bool:
        """True or false; false when absent."""
        value = self._values.get(key, False)
        self.require(isinstance(value, bool), f"'{key}' must be true or false")
        return bool(value)

    def integer(self, key: str) -> int:
        """A whole number."""
        return self._integer(self._values.get(key), key)

    def optional_integer(self, key: str) -> int | None:
        """A whole number, or None when absent or null."""
        value = self._values.get(key)
        return None if value is None else self._integer(value, key)

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        return tuple(self._integer(value, key) for value in self._list(key))

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers."""
        return tuple(self._number(value, key) for value in self._list(key))

    def pair(self, key: str) -> tuple[int, int]:
        """Two whole numbers."""
        values = self.integers(key)
        self.require(len(values) == 2, f"'{key}' must hold two numbers")
        return values[0], values[1]

    def strings(self, key: str) -> dict[str, str]:
        """An object whose values are strings; empty when absent."""
        value = self._values.get(key, {})
        good = isinstance(value, Mapping) and all(isinstance(v, str) for v in value.values())
        self.require(good, f"'{key}' must be an object of strings")
        return {str(name): text for name, text in value.items()}

    def table(self, key: str) -> Iterator[tuple[str, Reader]]:
        """The entries of an object of objects."""
        value = self._values.get(key)
        self.require(isinstance(value, Mapping), f"'{key}' must be an object")
        for name, entry in (value or {}).items():
            yield str(name), Reader(entry, f"{key}['{name}']")

    def _list(self, key: str) -> Sequence[Any]:
        value = self._values.get(key)
        self.require(isinstance(value, (list, tuple)), f"'{key}' must be a list")
        return list(value or ())

    def _integer(self, value: Any, key: str) -> int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        self.require(whole, f"'{key}' must be a whole number, not {value!r}")
        return int(value)

    def _number(self, value: Any, key: str) -> float:
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        self.require(good, f"'{key}' must hold numbers, not {value!r}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        self.require(math.isfinite(number), f"'{key}' must hold finite numbers")
        return number
