"""Reads the operators of a subgraph in order, and gathers a reason for each that it cannot."""

from __future__ import annotations

import onnx_ir

from edgekit.errors import ModelFileError, Reason
from edgekit.frontends.tflite.builder import Builder
from edgekit.frontends.tflite.dilation import join_dilated_convolutions
from edgekit.frontends.tflite.lowering import CannotRead, OpContext
from edgekit.frontends.tflite.model import Operator, TFLiteModel
from edgekit.frontends.tflite.ops.custom import CUSTOM_OPS
from edgekit.frontends.tflite.ops.partial import track
from edgekit.frontends.tflite.ops.table import BUILTIN_OPS
from edgekit.frontends.tflite.ops.unsupported import UNSUPPORTED
from edgekit.frontends.tflite.state import GraphState

_MISFITS = (IndexError, KeyError, OverflowError, TypeError, ValueError, ZeroDivisionError)
_MOST_OPERATORS = 200_000
_DEEPEST = 16


class OperatorReader:
    """Turns operators into nodes.

    Args:
        model: the file, for the subgraphs that operators refer to.
        builder: receives the nodes.

    Attributes:
        reasons: one for each operator that cannot be read.
        notes: what the user should know about those that can.
    """

    def __init__(self, model: TFLiteModel, builder: Builder) -> None:
        self.reasons: list[Reason] = []
        self.notes: list[str] = []
        self._model = model
        self._builder = builder
        self._left = _MOST_OPERATORS

    def state(self, subgraph: int) -> GraphState:
        """A fresh state for a subgraph of the file."""
        joined = join_dilated_convolutions(self._model.subgraphs[subgraph])
        return GraphState(joined, self._builder, self.notes)

    def read(self, state: GraphState, depth: int = 0) -> None:
        """Read every operator of the state's subgraph.

        Args:
            state: its inputs must be bound.
            depth: how many subgraphs this one is nested in.

        Raises:
            ModelFileError: if an operator does not fit its tensors.
        """
        for operator in state.subgraph.operators:
            self._left -= 1
            if self._left < 0 or depth > _DEEPEST:
                raise ModelFileError("the subgraphs of the TFLite file refer to each other.")
            self._builder.scope = _scope(state, operator)
            try:
                self._operator(state, operator, depth)
            except CannotRead as e:
                scope = _scope(state, operator)
                self.reasons.append(Reason(scope, operator.kind, e.reason, e.hint))
                _stand_in(state, operator)
            except _MISFITS as e:
                raise ModelFileError(
                    f"operator {operator.index} ({operator.kind}) does not fit its tensors: {e}."
                ) from e

    def _operator(self, state: GraphState, operator: Operator, depth: int) -> None:
        context = OpContext(state, operator)
        if operator.builtin == "STABLEHLO_COMPOSITE":
            self._composite(state, context, depth)
            return
        table = CUSTOM_OPS if operator.custom else BUILTIN_OPS
        function = table.get(operator.kind)
        if function is None:
            raise _unknown(operator)
        function(context)
        track(context)

    def _composite(self, state: GraphState, op: OpContext, depth: int) -> None:
        """A named group of operators comes with its decomposition, a subgraph: read that."""
        index = int(op.options("StableHLOCompositeOptions").decompositionSubgraphIndex)
        if not 0 <= index < len(self._model.subgraphs):
            raise ModelFileError(f"{op.operator.kind} refers to subgraph {index}.")
        inner = self.state(index)
        operator = op.operator
        for outer, own in zip(operator.inputs, inner.subgraph.inputs, strict=True):
            data = state.constant(state.subgraph.tensors[outer])
            if data is None:
                inner.bind(own, state.raw(outer))
            else:
                inner.constants[own] = data
        self.read(inner, depth + 1)
        for outer, own in zip(operator.outputs, inner.subgraph.outputs, strict=True):
            state.bind(outer, inner.raw(own))


def _scope(state: GraphState, operator: Operator) -> str:
    first = next((i for i in operator.outputs if i >= 0), None)
    name = state.subgraph.tensors[first].name if first is not None else ""
    return name or f"{operator.kind}_{operator.index}"


def _stand_in(state: GraphState, operator: Operator) -> None:
    """Values for the results of an operator without equivalent, so that reading goes on."""
    for index in operator.outputs:
        if index >= 0:
            state.bind(index, onnx_ir.Value(name=f"unread_{index}"))


def _unknown(operator: Operator) -> CannotRead:
    if operator.custom:
        return CannotRead(
            "it is a custom operator, whose meaning is not in the file",
            "export the model with builtin operators only",
        )
    reason, hint = UNSUPPORTED.get(operator.builtin, ("no ONNX form of it is known here", ""))
    return CannotRead(reason, hint)
