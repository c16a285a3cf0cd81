"""Checks a TFLite lowering against the ONNX reference evaluator, on the real interpreter."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
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

from edgekit.ir import Model, Source


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
    for step in (LiftConstantsToInitializersPass(), NameFixPass(), ShapeInferencePass()):
        step(model)
    for index, node in enumerate(model.graph):
        node.name = node.name or f"{node.op_type}_{index}"
    return model


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


def assert_same(
    model: onnx_ir.Model,
    feeds: Mapping[str, NDArray[Any]],
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> list[str]:
    """Assert that the converted graph gives what the reference evaluator gives.

    Returns:
        The builtin operators of the file, for further assertions.
    """
    got, ops = convert_and_run(model, feeds)
    for name, expected in reference(model, feeds).items():
        assert got[name].dtype == expected.dtype, f"{name}: {got[name].dtype} {expected.dtype}"
        assert got[name].shape == expected.shape, f"{name}: {got[name].shape} {expected.shape}"
        np.testing.assert_allclose(got[name], expected, rtol=rtol, atol=atol, err_msg=name)
    return ops
