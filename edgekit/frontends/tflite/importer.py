"""Builds the ONNX graph of a TFLite subgraph: inputs, operators in order, outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from edgekit.errors import ModelFileError, Reason, UnsupportedError
from edgekit.frontends.tflite.builder import Builder
from edgekit.frontends.tflite.layouts import images
from edgekit.frontends.tflite.lowering import CannotRead, onnx_type
from edgekit.frontends.tflite.model import Tensor, TFLiteModel
from edgekit.frontends.tflite.operators import OperatorReader
from edgekit.ir.verify import verify

_BATCH = "batch"


@dataclass(frozen=True)
class Imported:
    """A subgraph in ONNX form.

    Attributes:
        graph: the ONNX model.
        images: names of the inputs and outputs that are channels-last images.
        notes: what the user should know about how it was read.
    """

    graph: onnx_ir.Model
    images: tuple[str, ...]
    notes: tuple[str, ...]


def import_subgraph(model: TFLiteModel, name: str) -> Imported:
    """Read the main subgraph of a file.

    Args:
        model: the contents of the file.
        name: of the resulting graph.

    Raises:
        UnsupportedError: with a reason for each operator that cannot be read.
        ModelFileError: if operators do not fit their tensors.
    """
    return _Import(model, name).run()


class _Import:
    def __init__(self, model: TFLiteModel, name: str) -> None:
        subgraph = self._subgraph = model.subgraphs[0]
        signature = next((s for s in model.signatures if s.subgraph == 0), None)
        self._name = name
        self._builder = Builder()
        self._operators = OperatorReader(model, self._builder)
        self._state = self._operators.state(0)
        given_inputs = signature.inputs if signature else {}
        given_outputs = signature.outputs if signature else {}
        self._input_names = self._names(subgraph.inputs, given_inputs, "input")
        self._output_names = self._names(subgraph.outputs, given_outputs, "output")

    def _names(
        self, indices: Sequence[int], given: Mapping[int, tuple[str, ...]], role: str
    ) -> list[str]:
        """The names of inputs or outputs, claimed before any inner value can take them."""
        left = {index: list(names) for index, names in given.items()}
        chosen = []
        for position, index in enumerate(indices):
            own = left[index].pop(0) if left.get(index) else self._subgraph.tensors[index].name
            chosen.append(self._builder.reserve(own or f"{role}_{position}"))
        return chosen

    def run(self) -> Imported:
        inputs = self._inputs()
        self._operators.read(self._state)
        reasons = self._operators.reasons
        outputs = [] if reasons else self._outputs()
        if reasons:
            raise UnsupportedError(
                "the TFLite model uses operators that cannot be read.", reasons=reasons
            )
        if not outputs:
            raise ModelFileError("the TFLite model has no output.")
        graph = self._builder.model(self._name, inputs, outputs)
        RemoveUnusedNodesPass()(graph)
        self._infer_shapes(graph)
        verify(graph)
        found = images(self._subgraph)
        named = zip(
            (*self._subgraph.inputs, *self._subgraph.outputs),
            (*self._input_names, *self._output_names),
            strict=True,
        )
        pictures = tuple(name for index, name in named if index in found)
        return Imported(graph, pictures, tuple(self._operators.notes))

    def _inputs(self) -> list[onnx_ir.Value]:
        indices = self._subgraph.inputs
        if len(set(indices)) < len(indices):
            raise ModelFileError("the TFLite model lists an input twice.")
        values = []
        for index, name in zip(indices, self._input_names, strict=True):
            tensor = self._subgraph.tensors[index]
            value = self._builder.input(name, self._type(tensor, "input"), self._open(tensor, name))
            self._state.bind(index, value)
            values.append(value)
        return values

    def _type(self, tensor: Tensor, role: str) -> onnx_ir.DataType:
        try:
            return onnx_type(tensor.dtype)
        except CannotRead as e:
            self._operators.reasons.append(Reason(tensor.name, role, e.reason, e.hint))
            return onnx_ir.DataType.FLOAT

    def _open(self, tensor: Tensor, name: str) -> list[int | str | None]:
        """Sizes with names for the open ones; the first axis shares one name in all inputs."""
        return [
            n if n is not None else _BATCH if axis == 0 and self._batched else f"{name}_{axis}"
            for axis, n in enumerate(tensor.shape)
        ]

    @property
    def _batched(self) -> bool:
        shapes = [self._subgraph.tensors[i].shape for i in self._subgraph.inputs]
        return bool(shapes) and all(shape and shape[0] is None for shape in shapes)

    def _outputs(self) -> list[onnx_ir.Value]:
        values: list[onnx_ir.Value] = []
        inputs = set(self._subgraph.inputs)
        self._builder.scope = "outputs"
        for index, name in zip(self._subgraph.outputs, self._output_names, strict=True):
            tensor = self._subgraph.tensors[index]
            dtype = self._type(tensor, "output")
            value = self._state.raw(index)
            if index in inputs or value in values or value.producer() is None:
                value = self._builder.op("Identity", value)
            value.name = name
            value.dtype = dtype
            values.append(value)
        return values

    def _infer_shapes(self, graph: onnx_ir.Model) -> None:
        """Shapes by ONNX's inference; the file's own where that finds none."""
        ShapeInferencePass(check_type=False, strict_mode=False)(graph)
        for index, value in zip(self._subgraph.outputs, graph.graph.outputs, strict=True):
            declared = self._open(self._subgraph.tensors[index], value.name or "")
            inferred = declared if value.shape is None else list(value.shape)
            if len(inferred) != len(declared):
                declared = [None] * len(inferred)
            pairs = zip(inferred, declared, strict=True)
            sizes = [i if isinstance(i, int) or _is_batch(i) else d for i, d in pairs]
            value.shape = onnx_ir.Shape(sizes)


def _is_batch(size: object) -> bool:
    return isinstance(size, onnx_ir.SymbolicDim) and size.value == _BATCH
