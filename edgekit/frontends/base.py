"""What every frontend does: recognise a file, and read it into the IR."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import UsageError
from edgekit.ir import Model


@dataclass(frozen=True)
class LoadOptions:
    """How a model file is read.

    Attributes:
        allow_code: run code stored in the file (a Keras Lambda layer, a pickle). Off by default.
        example_inputs: what the model is called on where the frontend has to trace it (a PyTorch
            module): a tensor, a tuple of tensors, or a dict by argument name.
    """

    allow_code: bool = False
    example_inputs: Any = None


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

    def accepts_object(self, value: object) -> bool:
        """Whether this is a model in memory that this frontend reads; imports nothing heavy."""
        return False

    def read_object(self, value: Any, options: LoadOptions) -> Model:
        """Read a model in memory.

        Raises:
            UnsupportedError: with a reason for each operator that cannot be read.
            UsageError: if this frontend reads files only, or needs example inputs.
        """
        raise UsageError(f"{type(self).__name__} reads files, not objects.", hint="give a path")
