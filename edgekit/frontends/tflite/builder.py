"""Builds an ONNX graph node by node, with unique names and shared small constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir

from edgekit.ir import OPSET

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHARED_BYTES = 256
_IR_VERSION = 10

Operand = onnx_ir.Value | None


class Builder:
    """Collects nodes and constants.

    Attributes:
        scope: prefix of the names of new nodes and values; the caller sets it.
    """

    def __init__(self) -> None:
        self.scope = ""
        self._nodes: list[onnx_ir.Node] = []
        self._initializers: list[onnx_ir.Value] = []
        self._names: dict[str, int] = {}
        self._shared: dict[tuple[str, tuple[int, ...], bytes], onnx_ir.Value] = {}
        self._provisional: set[int] = set()

    def reserve(self, name: str) -> str:
        """A name that no other value has: `name` itself or `name` with a number."""
        count = self._names.get(name)
        if count is None:
            self._names[name] = 0
            return name
        while True:
            count += 1
            candidate = f"{name}_{count}"
            if candidate not in self._names:
                self._names[name] = count
                self._names[candidate] = 0
                return candidate

    def input(
        self, name: str, dtype: onnx_ir.DataType, shape: Sequence[int | str | None]
    ) -> onnx_ir.Value:
        """A graph input; its name must have been reserved."""
        return onnx_ir.Value(
            name=name, type=onnx_ir.TensorType(dtype), shape=onnx_ir.Shape(list(shape))
        )

    def constant(self, array: NDArray[Any], name: str = "") -> onnx_ir.Value:
        """An initializer; small equal ones are shared."""
        small = array.nbytes <= _SHARED_BYTES and not name
        key = (array.dtype.str, array.shape, array.tobytes()) if small else None
        if key is not None and key in self._shared:
            return self._shared[key]
        label = self.reserve(name or f"{self.scope}/constant")
        tensor = onnx_ir.Tensor(array, name=label)
        value = onnx_ir.Value(
            name=label,
            type=onnx_ir.TensorType(tensor.dtype),
            shape=onnx_ir.Shape(array.shape),
            const_value=tensor,
        )
        self._initializers.append(value)
        if key is not None:
            self._shared[key] = value
        return value

    def int64(self, *values: int) -> onnx_ir.Value:
        """A one-dimensional int64 constant."""
        return self.constant(np.array(values, np.int64))

    def node(
        self, kind: str, inputs: Sequence[Operand], outputs: int = 1, **attributes: Any
    ) -> tuple[onnx_ir.Value, ...]:
        """A node with any number of outputs; attributes that are None are left out."""
        given = {key: value for key, value in attributes.items() if value is not None}
        node = onnx_ir.node(
            kind,
            inputs,
            given,
            num_outputs=outputs,
            name=self.reserve(f"{self.scope}/{kind}"),
        )
        for value in node.outputs:
            value.name = self.reserve(f"{self.scope}/{kind}_output")
            self._provisional.add(id(value))
        self._nodes.append(node)
        return tuple(node.outputs)

    def op(self, kind: str, *inputs: Operand, **attributes: Any) -> onnx_ir.Value:
        """A node with one output."""
        return self.node(kind, inputs, **attributes)[0]

    def rename(self, value: onnx_ir.Value, name: str) -> bool:
        """Give a value its final name, unless it has one already.

        Args:
            value: any value of the graph.
            name: a reserved name.

        Returns:
            Whether the value now has that name.
        """
        if id(value) not in self._provisional:
            return False
        self._provisional.discard(id(value))
        value.name = name
        return True

    def model(
        self, name: str, inputs: Sequence[onnx_ir.Value], outputs: Sequence[onnx_ir.Value]
    ) -> onnx_ir.Model:
        """The finished graph."""
        graph = onnx_ir.Graph(
            inputs,
            outputs,
            nodes=self._nodes,
            initializers=self._initializers,
            opset_imports={"": OPSET},
            name=name,
        )
        return onnx_ir.Model(graph, ir_version=_IR_VERSION, producer_name="edgekit")
