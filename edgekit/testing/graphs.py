"""Small graphs for tests, and the comparison of what two graphs compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.ir.model import OPSET, Model
from edgekit.ir.oracle import Oracle

Size = int | str


class GraphBuilder:
    """Writes a graph line by line.

    Args:
        opset: the opset of its operators.
    """

    def __init__(self, opset: int = OPSET) -> None:
        self.opset = opset
        self._inputs: list[onnx_ir.Value] = []
        self._constants: list[onnx_ir.Value] = []
        self._nodes: list[onnx_ir.Node] = []
        self._count = 0

    def input(
        self, name: str, shape: Sequence[Size], dtype: onnx_ir.DataType = onnx_ir.DataType.FLOAT
    ) -> onnx_ir.Value:
        """A graph input."""
        value = onnx_ir.val(name, dtype, shape)
        self._inputs.append(value)
        return value

    def constant(self, array: Any, name: str | None = None) -> onnx_ir.Value:
        """An initializer; Python numbers become float32, lists of int become int64."""
        data = np.asarray(array)
        if data.dtype == np.float64:
            data = data.astype(np.float32)
        self._count += 1
        name = name or f"c{self._count}"
        value = onnx_ir.val(name, const_value=onnx_ir.tensor(data, name=name))
        self._constants.append(value)
        return value

    def op(
        self, op_type: str, *inputs: Any, outputs: int = 1, domain: str = "", **attributes: Any
    ) -> Any:
        """Outputs of a new node: one value, or a list. Arrays and numbers become constants."""
        values = [
            i if i is None or isinstance(i, onnx_ir.Value) else self.constant(i) for i in inputs
        ]
        self._count += 1
        results = [onnx_ir.val(f"v{self._count}_{k}") for k in range(outputs)]
        node = onnx_ir.node(
            op_type, values, attributes, domain=domain, outputs=results, name=f"n{self._count}"
        )
        self._nodes.append(node)
        return results[0] if outputs == 1 else results

    def build(
        self, *outputs: onnx_ir.Value, dtype: onnx_ir.DataType = onnx_ir.DataType.FLOAT
    ) -> Model:
        """The model with these outputs."""
        for value in outputs:
            value.dtype = value.dtype or dtype
        graph = onnx_ir.Graph(
            self._inputs,
            list(outputs),
            nodes=self._nodes,
            initializers=self._constants,
            opset_imports={"": self.opset},
            name="test",
        )
        return Model(onnx_ir.Model(graph, ir_version=10 if self.opset > 8 else 8))


def random_feeds(
    model: Model, *, seed: int = 0, sizes: Mapping[str, int] | None = None
) -> dict[str, NDArray[Any]]:
    """One array per input; symbolic sizes are 2 unless `sizes` says otherwise."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, NDArray[Any]] = {}
    for spec in model.signature.inputs:
        shape = [d if isinstance(d, int) else (sizes or {}).get(str(d), 2) for d in spec.shape]
        dtype = np.dtype(spec.dtype)
        if dtype.kind == "f":
            feeds[spec.name] = rng.normal(0, 1, shape).astype(dtype)
        elif dtype.kind == "b":
            feeds[spec.name] = rng.integers(0, 2, shape).astype(dtype)
        else:
            feeds[spec.name] = rng.integers(0, 4, shape).astype(dtype)
    return feeds


def largest_difference(before: Model, after: Model, feeds: Mapping[str, NDArray[Any]]) -> float:
    """Largest difference of any output, relative to that output's range (at least 1)."""
    with Oracle(before.ir, threads=1) as first, Oracle(after.ir, threads=1) as second:
        if first.outputs != second.outputs or first.inputs != second.inputs:
            return float("inf")
        old, new = first.run(feeds), second.run(feeds)
    worst = 0.0
    for name, expected in old.items():
        got = new[name]
        if got.shape != expected.shape or got.dtype != expected.dtype:
            return float("inf")
        if expected.size:
            error = np.abs(expected.astype(np.float64) - got.astype(np.float64)).max()
            scale = max(1.0, float(np.ptp(expected.astype(np.float64))))
            worst = max(worst, float(error) / scale)
    return worst
