"""Between real numbers and stored integers."""

from __future__ import annotations

import numpy as np

from edgekit.frontends.tflite.lowering import QUANTIZED_TYPES, CannotRead, Lowering, OpContext


def _quantize(op: OpContext) -> None:
    if op.result().dtype not in QUANTIZED_TYPES:
        raise CannotRead(f"its output {op.result()} has the type {op.result().dtype}")
    op.emit(op.real(0))


def _dequantize(op: OpContext) -> None:
    """Constants of type float16 become float32 constants; there is no node for them."""
    tensor = op.tensor(0)
    data = op.constant(0)
    if tensor.dtype in QUANTIZED_TYPES:
        if tensor.quantization is None:
            raise CannotRead(f"its input {tensor} has no scale")
        if data is None:
            op.state.bind(op.result().index, op.real(0))
        else:
            op.state.dequantized[op.result().index] = tensor.index
    elif data is not None and data.dtype.kind == "f":
        op.state.constants[op.result().index] = data.astype(np.float32)
    elif tensor.dtype == "FLOAT16":
        op.emit_raw(op.cast(op.raw(0), "FLOAT32"))
    else:
        raise CannotRead(f"its input {tensor} has the type {tensor.dtype}")


def _densify(op: OpContext) -> None:
    """The reader has expanded sparse constants already."""
    data = op.constant(0)
    if data is None:
        raise CannotRead("its input is not a constant")
    op.state.constants[op.result().index] = data


def _fake_quant(op: OpContext) -> None:
    """Rounds to the grid of 2^bits steps between min and max, moved so that zero is on it."""
    options = op.options("FakeQuantOptions")
    low, high = min(float(options.min), 0.0), max(float(options.max), 0.0)
    if options.numBits != 8:
        raise CannotRead(f"it rounds to {options.numBits} bits")
    first = 1 if options.narrowRange else 0
    scale = (high - low) / (255 - first) or 1.0
    zero_point = int(min(max(round(first - low / scale), first), 255))
    step = op.builder.constant(np.array(scale, np.float32))
    zero = op.builder.constant(np.array(zero_point, np.uint8))
    x = op.real(0)
    if first:
        x = op.op("Max", x, op.number((1 - zero_point) * scale))
    op.emit(op.op("DequantizeLinear", op.op("QuantizeLinear", x, step, zero), step, zero))


OPS: dict[str, Lowering] = {
    "DENSIFY": _densify,
    "DEQUANTIZE": _dequantize,
    "FAKE_QUANT": _fake_quant,
    "QUANTIZE": _quantize,
}
