"""What every converter does: explain what it cannot take, and emit one artifact."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edgekit.errors import Reason, UnsupportedError
from edgekit.ir import Model
from edgekit.vocabulary import CpuPolicy, IoType, Precision, Target

if TYPE_CHECKING:
    from edgekit.passes.quantize.rules import LegalOps


@dataclass(frozen=True)
class EmitOptions:
    """What is asked of an artifact.

    Attributes:
        precision: its arithmetic. For INT8 the graph comes with Q/DQ pairs in place.
        io: the type of its inputs and outputs. For INT8 the graph's edges are int8 already.
        cpu: which x86 CPUs an INT8 artifact must be exact on.
        keep_float32: names of nodes whose weights stay float32 in an FP16 artifact.
    """

    precision: Precision = Precision.FP32
    io: IoType = IoType.FLOAT
    cpu: CpuPolicy = CpuPolicy.PORTABLE
    keep_float32: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Emitted:
    """An artifact on disk.

    Attributes:
        path: its main file, inside the folder it was emitted to.
        files: all its files, the main one included.
        float_nodes: nodes of an INT8 artifact that stayed in float, with the reason.
        notes: what the reader of the manifest should know.
    """

    path: Path
    files: tuple[Path, ...]
    float_nodes: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()


class Converter(ABC):
    """Turns a canonical IR graph into one target's artifact.

    A subclass fills in `_explain` and `_emit`; callers use `explain` and `emit`.
    """

    target: ClassVar[Target]

    @property
    @abstractmethod
    def legal_ops(self) -> LegalOps:
        """What may be quantized on this target, and how."""

    def explain(self, model: Model) -> tuple[Reason, ...]:
        """Why nodes of a canonical graph cannot be lowered; empty when all can."""
        return tuple(self._explain(model))

    def emit(self, model: Model, folder: Path, options: EmitOptions) -> Emitted:
        """Write the artifact `<name>.<precision>.*` into an existing folder.

        Args:
            model: a canonical graph, with Q/DQ pairs for INT8. It is not changed.
            folder: where the files go.
            options: what is asked of the artifact.

        Raises:
            UnsupportedError: with one reason per node that cannot be lowered.
        """
        return self._emit(model, folder, options)

    def refuse(self, model: Model, reasons: Sequence[Reason]) -> UnsupportedError:
        """The error for a graph with nodes that cannot be lowered."""
        return UnsupportedError(
            f"'{model.name}' cannot be converted to {self.target}:", reasons=reasons
        )

    @abstractmethod
    def _explain(self, model: Model) -> Sequence[Reason]: ...

    @abstractmethod
    def _emit(self, model: Model, folder: Path, options: EmitOptions) -> Emitted: ...


def artifact_stem(model: Model, options: EmitOptions) -> str:
    """File name of an artifact without its suffix."""
    return f"{model.name}.{options.precision}"
