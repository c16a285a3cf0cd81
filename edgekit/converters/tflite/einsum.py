"""Einsum written out as transposes, reshapes, sums and one product for each pair of operands.

```
before   y = Einsum(x, w, "btd,dhe->bthe")
after    y = Reshape(MatMul(x, Reshape(w, [d, h·e])), [b, t, h, e])
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from edgekit.passes.canonicalize.rewrite import (
    add_constant,
    add_node,
    attribute,
    constant,
    dims,
    graph_of,
    is_op,
    replace,
)


@dataclass(frozen=True)
class _Term:
    """An operand with a letter for each axis."""

    value: onnx_ir.Value
    labels: str


@dataclass(frozen=True)
class _Equation:
    """A parsed equation, and the size behind each letter."""

    terms: tuple[str, ...]
    result: str
    sizes: dict[str, int | str | None]


def write_out_einsums(model: onnx_ir.Model) -> None:
    """Replace every Einsum that can be written out, in place."""
    for node in tuple(model.graph):
        if is_op(node, "Einsum"):
            equation = _parse(node)
            if equation is not None:
                _Writer(node, equation).write()


def _parse(node: onnx_ir.Node) -> _Equation | None:
    text = str(attribute(node, "equation", "")).replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = tuple(left.split(","))
    if "." in text or len(terms) != len(node.inputs) or any(len(set(t)) < len(t) for t in terms):
        return None
    sizes: dict[str, int | str | None] = {}
    for labels, value in zip(terms, node.inputs, strict=True):
        found = dims(value)
        if found is None or len(found) != len(labels) or 0 in found:
            return None
        for label, size in zip(labels, found, strict=True):
            if sizes.setdefault(label, size) == 1:
                sizes[label] = size
            if size == 1 != sizes[label]:
                return None
    joined = "".join(terms)
    result = right if arrow else "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    if sum(not isinstance(size, int) for size in sizes.values()) > 1:
        return None
    return _Equation(terms, result, sizes)


class _Writer:
    def __init__(self, node: onnx_ir.Node, equation: _Equation) -> None:
        self.node = node
        self.equation = equation
        self.dtype = node.outputs[0].type

    def write(self) -> None:
        values = [value for value in self.node.inputs if value is not None]
        terms = [_Term(v, t) for v, t in zip(values, self.equation.terms, strict=True)]
        total = terms[0]
        for index, term in enumerate(terms[1:], 1):
            later = "".join(t.labels for t in terms[index + 1 :]) + self.equation.result
            total = self._pair(total, term, later)
        total = self._summed(total, self.equation.result)
        final = self._transposed(total, self.equation.result).value
        if final.producer() is None:
            final = self._emit("Identity", [final], self.equation.result)
        replace(self.node.outputs[0], final)

    def _pair(self, a: _Term, b: _Term, later: str) -> _Term:
        a, b = self._summed(a, b.labels + later), self._summed(b, a.labels + later)
        batch = "".join(c for c in a.labels if c in b.labels and c in later)
        inner = "".join(c for c in a.labels if c in b.labels and c not in later)
        rows = "".join(c for c in a.labels if c not in b.labels)
        columns = "".join(c for c in b.labels if c not in a.labels)
        labels = batch + rows + columns
        if not inner:
            return _Term(self._outer(a, b, batch, rows, columns), labels)
        left = self._grouped(self._transposed(a, batch + rows + inner), (batch, rows, inner))
        right = self._grouped(self._transposed(b, batch + inner + columns), (batch, inner, columns))
        shape = [*self._sizes(batch), self._product(rows), self._product(columns)]
        product = self._make("MatMul", [left, right], shape)
        return _Term(self._reshaped(product, self._sizes(labels)), labels)

    def _outer(self, a: _Term, b: _Term, batch: str, rows: str, columns: str) -> onnx_ir.Value:
        """The product without a sum: both sides broadcast."""
        left = self._transposed(a, batch + rows)
        right = self._transposed(b, batch + columns)
        wide = self._reshaped(left.value, [*self._sizes(batch + rows), *(1 for _ in columns)])
        tall_shape = [*self._sizes(batch), *(1 for _ in rows), *self._sizes(columns)]
        tall = self._reshaped(right.value, tall_shape)
        return self._emit("Mul", [wide, tall], batch + rows + columns)

    def _summed(self, term: _Term, kept: str) -> _Term:
        gone = [axis for axis, label in enumerate(term.labels) if label not in kept]
        if not gone:
            return term
        rest = "".join(label for label in term.labels if label in kept)
        axes = add_constant(graph_of(self.node), np.array(gone), "axes")
        shape = self._sizes(rest)
        return _Term(self._make("ReduceSum", [term.value, axes], shape, keepdims=0), rest)

    def _transposed(self, term: _Term, labels: str) -> _Term:
        if term.labels == labels:
            return term
        perm = [term.labels.index(label) for label in labels]
        data = constant(term.value)
        if data is not None:
            moved = add_constant(graph_of(self.node), data.transpose(perm), "moved")
            return _Term(moved, labels)
        shape = self._sizes(labels)
        return _Term(self._make("Transpose", [term.value], shape, perm=perm), labels)

    def _grouped(self, term: _Term, groups: Sequence[str]) -> onnx_ir.Value:
        batch, *rest = groups
        shape = [*self._sizes(batch), *(self._product(group) for group in rest)]
        return self._reshaped(term.value, shape)

    def _reshaped(self, value: onnx_ir.Value, shape: Sequence[int | str | None]) -> onnx_ir.Value:
        if dims(value) == tuple(shape):
            return value
        sizes = np.array([s if isinstance(s, int) else -1 for s in shape], np.int64)
        data = constant(value)
        if data is not None:
            return add_constant(graph_of(self.node), data.reshape(sizes), "grouped")
        operand = add_constant(graph_of(self.node), sizes, "sizes")
        return self._make("Reshape", [value, operand], shape)

    def _sizes(self, labels: str) -> list[int | str | None]:
        return [self.equation.sizes[label] for label in labels]

    def _product(self, labels: str) -> int | str | None:
        if len(labels) == 1:
            return self.equation.sizes[labels]
        total = 1
        for size in self._sizes(labels):
            if not isinstance(size, int):
                return None
            total *= size
        return total

    def _emit(self, op: str, inputs: list[onnx_ir.Value], labels: str) -> onnx_ir.Value:
        return self._make(op, inputs, self._sizes(labels))

    def _make(
        self,
        op: str,
        inputs: Sequence[onnx_ir.Value],
        shape: Sequence[int | str | None],
        **attributes: int | list[int],
    ) -> onnx_ir.Value:
        value = add_node(self.node, op, list(inputs), attributes)
        value.type, value.shape = self.dtype, onnx_ir.Shape(shape)
        return value
