"""Every error EdgeKit raises on purpose, with its exit code.

```
EdgeKitError                 1  anything else (a bug)
├── UsageError               2  the command line, a recipe or an argument is wrong
├── GateError                3  a gate failed: drift, latency, size, memory
├── UnsupportedError         4  the model, or an operator in it, is not supported
├── MissingDependencyError   5  a runtime or an extra is not installed
└── InputError               6  a file or data set is missing, damaged or does not fit
    ├── ModelFileError          the model file cannot be read
    ├── DataError               calibration or evaluation data does not fit the model
    └── OutputError             the output cannot be written
```

A message says what happened, where, and (as `hint`) what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class EdgeKitError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what happened and where (node, tensor, file).
        hint: what the user can do about it.
    """

    exit_code: int = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class UsageError(EdgeKitError):
    """The command line, a recipe or an argument is wrong."""

    exit_code = 2


class GateError(EdgeKitError):
    """A gate that the user set was not met."""

    exit_code = 3


@dataclass(frozen=True)
class Reason:
    """Why one node cannot be lowered, or stays in float.

    Attributes:
        node: name of the node in the IR.
        op: its ONNX operator type.
        reason: what about it is in the way (attribute, type, shape).
        hint: what to do; empty when there is nothing to be done.
    """

    node: str
    op: str
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        tail = f" ({self.hint})" if self.hint else ""
        return f"{self.op} '{self.node}': {self.reason}{tail}"


class UnsupportedError(EdgeKitError):
    """The model, or operators in it, cannot be converted.

    Args:
        message: what cannot be done.
        reasons: one for each node in the way.
        hint: what the user can do about it.
    """

    exit_code = 4

    def __init__(
        self, message: str, *, reasons: Sequence[Reason] = (), hint: str | None = None
    ) -> None:
        lines = [message, *(f"  - {reason}" for reason in reasons)]
        super().__init__("\n".join(lines), hint=hint)
        self.reasons = tuple(reasons)


class MissingDependencyError(EdgeKitError):
    """A package is missing; the hint is the exact pip line.

    Args:
        package: the distribution that is missing.
        extra: the EdgeKit extra that brings it.
        needed_for: what cannot be done without it.
    """

    exit_code = 5

    def __init__(self, package: str, *, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the package '{package}', which is not installed.",
            hint=f"pip install 'edgekit[{extra}]'",
        )
        self.package = package
        self.extra = extra


class InputError(EdgeKitError):
    """A file or data set is missing, damaged or does not fit."""

    exit_code = 6


class ModelFileError(InputError):
    """A model file is missing, damaged, or not what its suffix says."""


class DataError(InputError):
    """Calibration or evaluation data does not fit the model."""


class OutputError(InputError):
    """The output cannot be written where it was asked for."""
