"""Looks through a Keras HDF5 file; needs h5py, which can crash on a damaged one: worker only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from edgekit.errors import ModelFileError
from edgekit.frontends.archive import LIMITS


def model_config(path: Path, label: str) -> str:
    """The configuration stored in a whole-model `.h5` file.

    Raises:
        ModelFileError: if the file is damaged or holds weights only.
    """
    with _opened(path, label) as file:
        try:
            config = file.attrs.get("model_config")
        except (OSError, RuntimeError, ValueError) as e:
            raise ModelFileError(f"{label} is damaged: {e}.") from e
    if config is None:
        raise ModelFileError(
            f"{label} holds weights without the network.",
            hint="save the whole model: model.save('model.keras')",
        )
    return config.decode("utf-8", "replace") if isinstance(config, bytes) else str(config)


def keras_version(path: Path, label: str) -> str:
    """The version of Keras that wrote the file; empty when it does not say.

    Raises:
        ModelFileError: if the file is damaged.
    """
    with _opened(path, label) as file:
        try:
            version = file.attrs.get("keras_version", "")
        except (OSError, RuntimeError, ValueError):
            return ""
    return version.decode("utf-8", "replace") if isinstance(version, bytes) else str(version)


def check_contents(path: Path, label: str) -> None:
    """Refuse a file that points outside itself or unpacks to far more than it weighs.

    Raises:
        ModelFileError: if it does, or cannot be walked.
    """
    total = 0
    with _opened(path, label) as file:
        try:
            for name, item in _items(file, label):
                if isinstance(item, h5py.Dataset):
                    if item.external or item.is_virtual:
                        raise _outside(label, name)
                    total += item.size * item.dtype.itemsize if item.size else 0
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as e:
            raise ModelFileError(f"{label} is damaged: {e}.") from e
    if total > LIMITS.unpacked(path.stat().st_size):
        raise ModelFileError(f"{label} is refused: it would unpack to {total} bytes.")


def _opened(path: Path, label: str) -> Any:
    try:
        return h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError) as e:
        raise ModelFileError(
            f"{label} is not a readable HDF5 file: {e}.", hint="it is truncated or damaged"
        ) from e


def _items(file: Any, label: str) -> Iterator[tuple[str, Any]]:
    """Every object once, without following links out of the file."""
    stack, seen = [("", file)], {h5py.h5o.get_info(file.id).addr}
    while stack:
        prefix, group = stack.pop()
        for key in group:
            name = f"{prefix}/{key}"
            if isinstance(group.get(key, getlink=True), h5py.ExternalLink):
                raise _outside(label, name)
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            yield name, item
            if isinstance(item, h5py.Group):
                stack.append((name, item))


def _outside(label: str, name: str) -> ModelFileError:
    return ModelFileError(
        f"{label} is refused: '{name}' points to data in another file.",
        hint="save the model again; Keras never writes such links",
    )
