"""What every frontend does: recognise a file, and read it into the IR."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from edgekit.ir import Model


@dataclass(frozen=True)
class LoadOptions:
    """How a model file is read.

    Attributes:
        allow_code: run code stored in the file (a Keras Lambda layer, a pickle). Off by default.
    """

    allow_code: bool = False


class Frontend(ABC):
    """Reads one kind of model file. The result is not canonical yet."""

    @abstractmethod
    def accepts(self, path: Path) -> bool:
        """Whether this path looks like this frontend's kind of file (name and first bytes)."""

    @abstractmethod
    def read(self, path: Path, options: LoadOptions) -> Model:
        """Read the file.

        The graph's inputs and outputs carry the source's own names, order, dtypes and shapes.

        Raises:
            ModelFileError: if the file is damaged or not of this kind.
            UnsupportedError: with a reason for each operator that cannot be read.
            MissingDependencyError: if the package that reads it is not installed.
        """
