"""What every runtime can do: say whether it is here, open an artifact, run it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError, InputError, MissingDependencyError
from edgekit.ir.signature import Signature, TensorSpec


@dataclass(frozen=True)
class Availability:
    """Whether a runtime can be used on this machine.

    Attributes:
        installed: whether its package can be imported.
        usable: whether artifacts can be run here (a GPU runtime needs its GPU).
        version: of the package; empty when it is not installed.
        detail: what is missing, or which package serves.
        extra: the EdgeKit extra that brings it.
    """

    installed: bool
    usable: bool
    version: str = ""
    detail: str = ""
    extra: str = ""


class Session(ABC):
    """An artifact opened on its runtime.

    `signature` has the names, order, dtypes and shapes that the artifact itself declares, as
    close to the source's as the format can say. A subclass sets it and fills in `_run`.
    """

    signature: Signature

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch. Nothing is remembered from one batch to the next.

        Args:
            feeds: one array per input, by the names of `signature`, of its dtypes and shapes.

        Returns:
            One array per output, by the names of `signature`, in its order.

        Raises:
            DataError: if an input is missing or has another dtype or shape.
            InputError: if the runtime fails on these values.
        """
        arrays: dict[str, NDArray[Any]] = {}
        for spec in self.signature.inputs:
            if spec.name not in feeds:
                raise DataError(f"input '{spec.name}' is missing; got {sorted(feeds)}.")
            # ascontiguousarray turns a scalar into a vector; asarray keeps its rank.
            array = np.asarray(feeds[spec.name], order="C")
            _check(array, spec)
            arrays[spec.name] = array
        return self._run(arrays)

    @abstractmethod
    def _run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]: ...

    def close(self) -> None:  # noqa: B027 - most runtimes free themselves
        """Free what the session holds."""

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Runtime(ABC):
    """One runtime. A subclass fills in `probe` and `_open`."""

    name: ClassVar[str]
    extra: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    tries_in_child: ClassVar[bool] = False
    """Whether a damaged file can crash or hang this runtime natively."""

    @abstractmethod
    def probe(self) -> Availability:
        """Look for the runtime, without keeping anything loaded that can be avoided."""

    def open(self, path: Path, *, threads: int | None = None, trusted: bool = False) -> Session:
        """Open an artifact.

        Args:
            path: its main file.
            threads: how many threads to run on; None leaves the choice to the runtime.
            trusted: whether EdgeKit wrote the file a moment ago. Where a damaged file can crash
                or hang the runtime natively, any other file is opened and run once in a child
                process first.

        Raises:
            MissingDependencyError: if the runtime is not installed, or has no device here.
            InputError: if the file is missing or the runtime refuses it.
        """
        found = self.probe()
        if not found.installed:
            raise MissingDependencyError(
                self.extra, extra=self.extra, needed_for=f"the {self.name} runtime"
            )
        if not path.is_file():
            raise InputError(f"there is no file '{path}'.")
        if self.tries_in_child and not trusted:
            from edgekit.runtimes.trial import try_in_child

            try_in_child(self.name, path)
        return self._open(path, threads)

    @abstractmethod
    def _open(self, path: Path, threads: int | None) -> Session: ...


def _check(array: NDArray[Any], spec: TensorSpec) -> None:
    if array.dtype.name != spec.dtype:
        raise DataError(
            f"input '{spec.name}' is {array.dtype.name}, the artifact takes {spec.dtype}."
        )
    fits = len(array.shape) == len(spec.shape) and all(
        not isinstance(want, int) or want == got
        for got, want in zip(array.shape, spec.shape, strict=False)
    )
    if not fits:
        raise DataError(
            f"input '{spec.name}' has the shape {list(array.shape)}, the artifact takes {spec}."
        )


def refused(path: Path, runtime: str, error: object) -> InputError:
    """The error for a file that a runtime does not take, with the runtime's own first words."""
    sentences = dict.fromkeys(" ".join(str(error).split()).split(". "))
    words = ". ".join(sentences)
    cut = words if len(words) <= _WORDS else words[:_WORDS] + " …"
    return InputError(
        f"{runtime} refuses '{path.name}': {cut or type(error).__name__}",
        hint="the file is damaged, or was written for another version of the runtime",
    )


_WORDS = 400
