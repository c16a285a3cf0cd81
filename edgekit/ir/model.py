"""The model that every stage takes and gives: an ONNX graph, its contract and its provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import onnx_ir

from edgekit.ir.preprocessing import Preprocessing
from edgekit.ir.signature import Dim, Signature, TensorSpec
from edgekit.vocabulary import Layout

OPSET = 21
"""The ONNX opset that canonicalization brings every model to."""


@dataclass(frozen=True)
class Source:
    """Where a model came from.

    Attributes:
        name: file or module name without folders and suffix; artifacts are called after it.
        path: the file name as given, without its folders; None for an object in memory.
        sha256: of the file (of the sorted files of a folder); None for an object in memory.
        frontend: which frontend read it.
        frontend_version: version of the package that understood the format.
        notes: what the reader should know, such as a fallback that was taken.
    """

    name: str
    path: str | None = None
    sha256: str | None = None
    frontend: str = "memory"
    frontend_version: str = ""
    notes: tuple[str, ...] = ()


@dataclass
class Model:
    """A graph in ONNX form with what ONNX does not say about it.

    Attributes:
        ir: the graph. Its inputs and outputs carry the source's names, order, dtypes and shapes.
        layouts: axis order of those inputs and outputs that are 4-D images, by name.
        preprocessing: how a picture becomes the input, where that is known.
        source: provenance.
    """

    ir: onnx_ir.Model
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    source: Source = field(default_factory=lambda: Source("model"))

    @property
    def graph(self) -> onnx_ir.Graph:
        """The main graph."""
        return self.ir.graph

    @property
    def name(self) -> str:
        """Name that artifacts are called after."""
        return self.source.name

    @property
    def signature(self) -> Signature:
        """Names, dtypes, shapes and layouts of the inputs and outputs, read off the graph."""
        initializers = self.graph.initializers
        return Signature(
            tuple(self._spec(v) for v in self.graph.inputs if v.name not in initializers),
            tuple(self._spec(v) for v in self.graph.outputs),
        )

    def clone(self) -> Model:
        """A copy whose graph can be changed freely; constants are shared, not copied."""
        return replace(self, ir=self.ir.clone())

    def _spec(self, value: onnx_ir.Value) -> TensorSpec:
        name = value.name or ""
        dtype = value.dtype.numpy().name if value.dtype is not None else "float32"
        return TensorSpec(name, dtype, shape_of(value), self.layouts.get(name))


def shape_of(value: onnx_ir.Value) -> tuple[Dim, ...]:
    """Shape of a value with symbolic sizes by name; empty when the shape is unknown."""
    if value.shape is None:
        return ()
    return tuple(d if isinstance(d, int) else d.value for d in value.shape)
