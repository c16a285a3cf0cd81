"""Small `.tflite` models written by hand, for tests of what reads or runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Scale:
    """Quantization of a tensor; several scales are per slice along `axis`."""

    scale: float | Sequence[float]
    zero_point: int = 0
    axis: int = 0


class TinyModel:
    """A TFLite model, built tensor by tensor and operator by operator.

    Tensors are referred to by their index, as in the file.

    Args:
        parent: the model that this one is a further subgraph of.
    """

    def __init__(self, parent: TinyModel | None = None) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._subgraphs: list[TinyModel] = parent._subgraphs if parent else []
        self._subgraphs.append(self)
        self._codes: list[Any] = parent._codes if parent else []
        self._buffers: list[Any] = parent._buffers if parent else [schema.BufferT()]
        self._inputs: list[int] = []
        self._outputs: list[int] = []
        self._signatures: list[Any] = []
        self._metadata: list[Any] = []

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "FLOAT32",
        *,
        scale: Scale | None = None,
        open_axes: Sequence[int] = (),
        variable: bool = False,
        name: str = "",
    ) -> int:
        """An activation. `open_axes` are dynamic."""
        made = self._schema.TensorT()
        made.name = name or f"tensor_{len(self._tensors)}"
        made.shape = np.array(shape, np.int32)
        if open_axes:
            made.shapeSignature = np.array(
                [-1 if i in open_axes else n for i, n in enumerate(shape)], np.int32
            )
        made.type = getattr(self._schema.TensorType, dtype)
        made.isVariable = variable
        made.hasRank = True
        if scale is not None:
            made.quantization = self._quantization(scale)
        self._tensors.append(made)
        return len(self._tensors) - 1

    def input(self, shape: Sequence[int], dtype: str = "FLOAT32", **details: Any) -> int:
        """An input of the graph; details as for `tensor`."""
        index = self.tensor(shape, dtype, **details)
        self._inputs.append(index)
        return index

    def constant(
        self, values: ArrayLike, *, scale: Scale | None = None, dtype: str = "", name: str = ""
    ) -> int:
        """A constant; `dtype` is a TFLite type where NumPy's does not say it."""
        array = np.asarray(values)
        index = self.tensor(array.shape, dtype or array.dtype.name.upper(), scale=scale, name=name)
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self._tensors[index].buffer = len(self._buffers)
        self._buffers.append(buffer)
        return index

    def op(
        self,
        kind: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Mapping[str, Any] | None = None,
        *,
        options_kind: str = "",
        custom_options: bytes = b"",
        version: int = 1,
    ) -> None:
        """An operator: a builtin by its name in the schema, anything else is custom.

        Args:
            kind: such as `CONV_2D`.
            inputs: tensors; -1 for an optional one that is absent.
            outputs: tensors.
            options: fields of the options table that differ from the schema's defaults.
            options_kind: such as `Conv2DOptions`; without it there is no options table.
            custom_options: bytes for a custom operator.
            version: of the operator.
        """
        schema = self._schema
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind, schema.BuiltinOperator.CUSTOM)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.customCode = kind if code.builtinCode == schema.BuiltinOperator.CUSTOM else None
        code.version = version
        made = schema.OperatorT()
        made.opcodeIndex = len(self._codes)
        self._codes.append(code)
        made.inputs, made.outputs = (np.array(t, np.int32) for t in (inputs, outputs))
        if options_kind:
            table = getattr(schema, options_kind + "T")()
            for key, value in (options or {}).items():
                setattr(table, key, value)
            number = getattr(schema.BuiltinOptions, options_kind, None)
            if number is not None:
                made.builtinOptionsType, made.builtinOptions = number, table
            else:
                made.builtinOptions2Type = getattr(schema.BuiltinOptions2, options_kind)
                made.builtinOptions2 = table
        if custom_options:
            made.customOptions = np.frombuffer(custom_options, np.uint8)
        self._operators.append(made)

    def output(self, *indices: int) -> None:
        """Make tensors outputs of the graph."""
        self._outputs.extend(indices)

    def signature(self, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
        """Name inputs and outputs in a signature."""
        made = self._schema.SignatureDefT()
        made.signatureKey = "serving_default"
        made.inputs, made.outputs = self._tensor_maps(inputs), self._tensor_maps(outputs)
        self._signatures.append(made)

    def metadata(self, name: str, content: bytes) -> None:
        """A named entry beside the graph."""
        made = self._schema.MetadataT()
        made.name, made.buffer = name, len(self._buffers)
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        self._buffers.append(buffer)
        self._metadata.append(made)

    def pack(self) -> bytes:
        """The file."""
        import flatbuffers

        model = self._schema.ModelT()
        model.version = 3
        model.subgraphs, model.buffers = [g._graph() for g in self._subgraphs], self._buffers
        model.operatorCodes, model.signatureDefs = self._codes, self._signatures
        model.metadata = self._metadata
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _graph(self) -> Any:
        graph = self._schema.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs = np.array(self._inputs, np.int32)
        graph.outputs = np.array(self._outputs, np.int32)
        return graph

    def settle(self, feeds: Sequence[NDArray[Any]]) -> bytes:
        """The file, with the outputs' shapes as the interpreter works them out."""
        for index, value in zip(self._outputs, run_interpreter(self.pack(), feeds), strict=True):
            self._tensors[index].shape = np.array(value.shape, np.int32)
        return self.pack()

    def _quantization(self, scale: Scale) -> Any:
        made = self._schema.QuantizationParametersT()
        made.scale = np.atleast_1d(np.array(scale.scale, np.float32))
        made.zeroPoint = np.full(made.scale.size, scale.zero_point, np.int64)
        made.quantizedDimension = scale.axis
        return made

    def _tensor_maps(self, names: Mapping[str, int]) -> list[Any]:
        maps = []
        for name, index in names.items():
            made = self._schema.TensorMapT()
            made.name, made.tensorIndex = name, index
            maps.append(made)
        return maps


def run_interpreter(
    model: bytes, feeds: Sequence[NDArray[Any]], *, delegate: bool = False
) -> list[NDArray[Any]]:
    """Run a `.tflite` file on the LiteRT interpreter.

    Args:
        model: the file.
        feeds: one array per input, in order; inputs take their shapes.
        delegate: use the default delegate (XNNPACK) instead of the builtin kernels.

    Returns:
        The outputs, in order.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=kernels, num_threads=1
    )
    details = interpreter.get_input_details()
    for detail, value in zip(details, feeds, strict=True):
        if tuple(detail["shape"]) != value.shape:
            interpreter.resize_tensor_input(detail["index"], value.shape)
    interpreter.allocate_tensors()
    for detail, value in zip(details, feeds, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()]


def run_imported(model: bytes, feeds: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Read a `.tflite` file into the IR and run that.

    Args:
        model: the file.
        feeds: one array per input, in order.

    Returns:
        The outputs, in order.
    """
    from edgekit.frontends.tflite.importer import import_subgraph
    from edgekit.frontends.tflite.reader import read_model
    from edgekit.ir import Oracle

    graph = import_subgraph(read_model(model), "tiny").graph
    names = [value.name or "" for value in graph.graph.inputs]
    with Oracle(graph, exact=True, threads=1) as oracle:
        return list(oracle.run(dict(zip(names, feeds, strict=True))).values())


def assert_same(model: bytes, feeds: Sequence[NDArray[Any]], tolerance: float = 1e-5) -> None:
    """Assert that the IR read from a file computes what the interpreter computes.

    Args:
        model: the file.
        feeds: one array per input, in order.
        tolerance: for real numbers, of the output's range (at least 1); integers may differ by
            one quantum, booleans and wide integers not at all.
    """
    wanted = run_interpreter(model, feeds)
    got = run_imported(model, feeds)
    assert len(got) == len(wanted)
    for ours, theirs in zip(got, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        room = 0.0
        if theirs.dtype.kind == "f" and theirs.size:
            room = tolerance * max(float(np.ptp(theirs)), 1.0)
        elif theirs.dtype in (np.int8, np.uint8, np.int16):
            room = 1.0
        np.testing.assert_allclose(ours.astype(float), theirs.astype(float), rtol=0, atol=room)
