"""Runs an IR graph on ONNX Runtime: the float reference that artifacts are compared with."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir

from edgekit.errors import UnsupportedError
from edgekit.ir.opset import written_opset

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IN_MEMORY_LIMIT = 1 << 30
"""Bytes of constants above which the graph is passed as a file, since protobuf stops at 2 GB."""


class Oracle:
    """An executable view of a graph.

    Args:
        model: the graph to run; it is not changed.
        outputs: names of the tensors to return, inner ones included; default: the graph's outputs.
        exact: follow the ONNX semantics of QuantizeLinear/DequantizeLinear instead of ONNX
            Runtime's fused integer kernels.
        threads: intra-op threads; None leaves the choice to ONNX Runtime.

    Raises:
        UnsupportedError: if ONNX Runtime refuses the graph.
    """

    def __init__(
        self,
        model: onnx_ir.Model,
        *,
        outputs: Sequence[str] | None = None,
        exact: bool = False,
        threads: int | None = None,
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        if exact:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        if threads:
            options.intra_op_num_threads = threads
        self._folder = tempfile.TemporaryDirectory(prefix="edgekit-")
        try:
            payload = self._serialize(_with_outputs(model, outputs), Path(self._folder.name))
            self._session: Any = onnxruntime.InferenceSession(
                payload, options, providers=["CPUExecutionProvider"]
            )
        except Exception as e:
            self._folder.cleanup()
            raise UnsupportedError(f"ONNX Runtime refuses the graph: {_first_line(e)}") from e
        self.inputs = tuple(i.name for i in self._session.get_inputs())
        self.outputs = tuple(o.name for o in self._session.get_outputs())

    @staticmethod
    def _serialize(model: onnx_ir.Model, folder: Path) -> bytes | str:
        size = sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value)
        copy = model.clone()
        copy.opset_imports[""] = written_opset(model)
        if size < _IN_MEMORY_LIMIT:
            return bytes(onnx_ir.to_proto(copy).SerializeToString())
        onnx_ir.save(copy, folder / "model.onnx", external_data="model.data")
        return str(folder / "model.onnx")

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch.

        Args:
            feeds: one array per input, by name.

        Returns:
            One array per output, by name.
        """
        values = self._session.run(list(self.outputs), dict(feeds))
        return {name: np.asarray(v) for name, v in zip(self.outputs, values, strict=True)}

    def close(self) -> None:
        """Free the session."""
        self._session = None
        self._folder.cleanup()

    def __enter__(self) -> Oracle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _with_outputs(model: onnx_ir.Model, names: Sequence[str] | None) -> onnx_ir.Model:
    if names is None:
        return model
    view = model.clone()
    values = onnx_ir.convenience.create_value_mapping(view.graph)
    view.graph.outputs.clear()
    view.graph.outputs.extend(values[name] for name in names)
    return view


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
