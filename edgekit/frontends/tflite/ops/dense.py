"""Matrix products."""

from __future__ import annotations

import onnx_ir

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.lowering import CannotRead, Lowering, OpContext
from edgekit.frontends.tflite.ops.bias import bias


def _fully_connected(op: OpContext) -> None:
    """Gemm on a matrix; on more axes, MatMul over the last one when they are to be kept."""
    options = op.options("FullyConnectedOptions")
    if options.weightsFormat:
        raise CannotRead("its weights are stored shuffled for one CPU kernel")
    if op.rank(1) != 2:
        raise ModelFileError(f"{op.operator.kind} has weights of {op.rank(1)} axes.")
    depth = op.shape(1)[1]
    rank = op.rank(0)
    if options.keepNumDims and rank > 2:
        y = op.op("MatMul", op.real(0), op.weights(1, (1, 0)))
        if op.has(2):
            y = op.op("Add", y, bias(op, 2, data=0, weights=1))
        op.emit(y, options.fusedActivationFunction)
        return
    x = op.real(0)
    if rank != 2 or op.shape(0)[1] not in (depth, None):
        if depth is None:
            raise CannotRead("the size of its weights is open")
        x = op.op("Reshape", x, op.int64(-1, depth))
    operands = [x, op.weights(1, (0, 1))]
    if op.has(2):
        operands.append(bias(op, 2, data=0, weights=1))
    op.emit(op.op("Gemm", *operands, transB=1), options.fusedActivationFunction)


def _batch_matmul(op: OpContext) -> None:
    options = op.options("BatchMatMulOptions")
    left = _operand(op, 0, options.adjX)
    right = _operand(op, 1, options.adjY)
    op.emit(op.op("MatMul", left, right))


def _operand(op: OpContext, position: int, swap: bool) -> onnx_ir.Value:
    if not swap:
        return op.real(position)
    rank = op.rank(position)
    if rank < 2:
        raise ModelFileError(f"{op.operator.kind} has an operand of {rank} axes.")
    perm = (*range(rank - 2), rank - 1, rank - 2)
    return op.weights(position, perm)


OPS: dict[str, Lowering] = {
    "BATCH_MATMUL": _batch_matmul,
    "FULLY_CONNECTED": _fully_connected,
}
