"""Tells a damaged model from a bug of ours, once a pass has failed."""

from __future__ import annotations

import onnx_ir

from edgekit.errors import EdgeKitError
from edgekit.ir.verify import verify
from edgekit.passes.canonicalize.protos import stripped_proto


def find_fault(model: onnx_ir.Model) -> str | None:
    """What is wrong with a model, in one line; None if it is valid ONNX.

    This reads all constants and runs onnx's checker, so it is only worth it after a failure.
    """
    for check in (_check_structure, _check_constants, _check_standard):
        complaint = check(model)
        if complaint is not None:
            return complaint
    return None


def find_torn_constant(model: onnx_ir.Model) -> str | None:
    """Which constant has more or fewer bytes than its type and shape say; None if all fit.

    onnx's native code trusts these numbers, so this comes before it. Only constants inside the
    file are looked at; one outside is checked when it is read.
    """
    return _check_constants(model, only=onnx_ir.serde.TensorProtoTensor)


def _check_structure(model: onnx_ir.Model) -> str | None:
    try:
        verify(model)
    except EdgeKitError as e:
        return e.message
    return None


def _check_constants(model: onnx_ir.Model, only: type = object) -> str | None:
    for name, value in model.graph.initializers.items():
        try:
            if value.const_value is not None and isinstance(value.const_value, only):
                value.const_value.numpy()
        except (ValueError, TypeError, OSError) as e:
            return f"the data of '{name}' does not fit its type and shape ({_first_line(e)})"
    return None


def _check_standard(model: onnx_ir.Model) -> str | None:
    from onnx import checker, shape_inference

    try:
        checker.check_model(stripped_proto(model), full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as e:
        return _first_line(e)
    except (onnx_ir.serde.SerdeError, ValueError, TypeError) as e:
        return f"it cannot be written as ONNX ({_first_line(e)})"
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
