"""The intermediate representation: ONNX held in `onnx_ir`, with its contract and provenance."""

from edgekit.ir.model import OPSET, Model, Source
from edgekit.ir.oracle import Oracle
from edgekit.ir.preprocessing import Preprocessing
from edgekit.ir.signature import Signature, TensorSpec

__all__ = ["OPSET", "Model", "Oracle", "Preprocessing", "Signature", "Source", "TensorSpec"]
