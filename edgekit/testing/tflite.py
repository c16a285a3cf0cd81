"""Checks a TFLite lowering against the ONNX reference evaluator, on the real interpreter."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray
from onnx_ir.passes.common import (
    LiftConstantsToInitializersPass,
    NameFixPass,
    ShapeInferencePass,
)

from edgekit.ir import Model, Oracle, Source

Reference = Callable[[onnx_ir.Model, Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
"""What gives the expected outputs of a graph."""


def model_of(onnx_text: str, constants: Mapping[str, NDArray[Any]] | None = None) -> onnx_ir.Model:
    """A named, shape-inferred graph from the ONNX text format.

    Args:
        onnx_text: a whole model. Inputs that are named in `constants` become initializers.
        constants: arrays for some of the inputs.
    """
    model = onnx_ir.from_onnx_text(onnx_text)
    for name, array in (constants or {}).items():
        value = next(v for v in model.graph.inputs if v.name == name)
        model.graph.inputs.remove(value)
        value.const_value = onnx_ir.tensor(array, name=name)
        model.graph.register_initializer(value)
    lift = LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)
    for step in (lift, NameFixPass(), ShapeInferencePass()):
        step(model)
    for index, node in enumerate(model.graph):
        node.name = node.name or f"{node.op_type}_{index}"
    return model


def node_model(
    op_type: str,
    operands: Mapping[str, NDArray[Any] | None],
    *,
    constants: Collection[str] = (),
    dynamic: Collection[str] = (),
    outputs: int = 1,
    **attributes: Any,
) -> onnx_ir.Model:
    """A named, shape-inferred graph of one node.

    Args:
        op_type: the ONNX operator.
        operands: name and example of each operand, in order; None leaves an optional one out.
        constants: which of them are initializers.
        dynamic: which of them have a symbolic first size, `N`.
        outputs: how many results the node has: `y`, `y1`, ...
        attributes: the node's attributes; those that are None are left out.
    """
    import onnx

    names = [name if array is not None else "" for name, array in operands.items()]
    results = ["y" if index == 0 else f"y{index}" for index in range(outputs)]
    given = {name: value for name, value in attributes.items() if value is not None}
    node = onnx.helper.make_node(op_type, names, results, f"{op_type}_0", **given)
    inputs, initializers = [], []
    for name, array in operands.items():
        if array is None:
            continue
        if name in constants:
            initializers.append(onnx.numpy_helper.from_array(array, name))
            continue
        shape: list[int | str] = list(array.shape)
        if name in dynamic and shape:
            shape[0] = "N"
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        inputs.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    declared = [onnx.helper.make_empty_tensor_value_info(name) for name in results]
    graph = onnx.helper.make_graph([node], "case", inputs, declared, initializers)
    opset = [onnx.helper.make_opsetid("", 21)]
    proto = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    return onnx_ir.from_proto(onnx.shape_inference.infer_shapes(proto, data_prop=True))


def convert_and_run(
    model: onnx_ir.Model, feeds: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Convert to TFLite, run on the interpreter.

    Returns:
        The outputs by name, and the builtin operators of the file in order.
    """
    from edgekit.converters.base import EmitOptions
    from edgekit.converters.tflite.converter import TFLiteConverter

    with tempfile.TemporaryDirectory() as folder:
        emitted = TFLiteConverter().emit(
            Model(model, source=Source("case")), Path(folder), EmitOptions()
        )
        content = emitted.path.read_bytes()
    return run(content, feeds), operators(content)


def run(content: bytes, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run a flatbuffer's signature on the LiteRT interpreter, resized to the feeds."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    if not feeds:
        interpreter.allocate_tensors()
        interpreter.invoke()
    runner = interpreter.get_signature_runner()
    return dict(runner(**feeds))


def operators(content: bytes) -> list[str]:
    """Names of the operators of the main subgraph, in order."""
    from ai_edge_litert import schema_py_generated as schema

    names = {
        number: name
        for name, number in vars(schema.BuiltinOperator).items()
        if isinstance(number, int)
    }
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    codes = model.operatorCodes
    return [
        names[max(codes[op.opcodeIndex].builtinCode, codes[op.opcodeIndex].deprecatedBuiltinCode)]
        for op in model.subgraphs[0].operators
    ]


def reference(model: onnx_ir.Model, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Outputs of the ONNX reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(onnx_ir.to_proto(model))
    values = evaluator.run(None, dict(feeds))
    return {str(v.name): np.asarray(x) for v, x in zip(model.graph.outputs, values, strict=True)}


def onnxruntime_reference(
    model: onnx_ir.Model, feeds: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Outputs of ONNX Runtime, for operators that the reference evaluator gets wrong."""
    with Oracle(model, exact=True, threads=1) as oracle:
        return dict(oracle.run(feeds))


def assert_node_same(
    op_type: str,
    operands: Mapping[str, NDArray[Any] | None],
    *,
    constants: Collection[str] = (),
    dynamic: Collection[str] = (),
    outputs: int = 1,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    against: Reference | None = None,
    **attributes: Any,
) -> list[str]:
    """`assert_same` for the model that `node_model` makes, fed with the examples themselves."""
    model = node_model(
        op_type, operands, constants=constants, dynamic=dynamic, outputs=outputs, **attributes
    )
    feeds = {n: a for n, a in operands.items() if a is not None and n not in constants}
    return assert_same(model, feeds, rtol=rtol, atol=atol, against=against)


def assert_same(
    model: onnx_ir.Model,
    feeds: Mapping[str, NDArray[Any]],
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    against: Reference | None = None,
) -> list[str]:
    """Assert that the converted graph gives what the reference evaluator gives.

    Args:
        model: the graph.
        feeds: its inputs.
        rtol: relative tolerance.
        atol: absolute tolerance.
        against: what to compare with instead of `reference`, such as `onnxruntime_reference`.

    Returns:
        The builtin operators of the file, for further assertions.
    """
    got, ops = convert_and_run(model, feeds)
    for name, expected in (against or reference)(model, feeds).items():
        assert got[name].dtype == expected.dtype, f"{name}: {got[name].dtype} {expected.dtype}"
        assert got[name].shape == expected.shape, f"{name}: {got[name].shape} {expected.shape}"
        np.testing.assert_allclose(got[name], expected, rtol=rtol, atol=atol, err_msg=name)
    return ops
