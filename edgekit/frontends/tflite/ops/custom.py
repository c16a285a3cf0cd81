"""Custom operators whose meaning is public."""

from __future__ import annotations

import struct

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.lowering import Lowering, OpContext
from edgekit.frontends.tflite.ops.convolution import sizes_of, transposed
from edgekit.frontends.tflite.ops.detection_postprocess import detection_postprocess
from edgekit.frontends.tflite.ops.window import SAME, VALID, Window

_C_PADDING = {1: SAME, 2: VALID}
"""`TfLitePadding` counts from 1, the schema's `Padding` from 0."""


def _transposed_convolution_with_bias(op: OpContext) -> None:
    """MediaPipe's operator: input, weights (out, height, width, in), bias.

    Its options are the C structure `TfLiteTransposeConvParams`: padding, stride width, stride
    height, each an int32.
    """
    raw = op.operator.custom_options
    if len(raw) < 12:
        raise ModelFileError(f"{op.operator.kind} has {len(raw)} bytes of options, not 12.")
    padding, width_step, height_step = struct.unpack_from("<3i", raw)
    if padding not in _C_PADDING:
        raise ModelFileError(f"{op.operator.kind} has the unknown padding {padding}.")
    _, height, width, _ = sizes_of(op, 1, 4)
    strides = (height_step, width_step)
    window = Window((height, width), strides, (1, 1), _C_PADDING[padding])
    wanted = tuple(
        None if n is None else n * s if window.padding == SAME else (n - 1) * s + k
        for n, s, k in zip(op.shape(0)[1:3], strides, window.kernel, strict=True)
    )
    op.emit(transposed(op, 0, 1, 2, (3, 0, 1, 2), window, wanted))


CUSTOM_OPS: dict[str, Lowering] = {
    "Convolution2DTransposeBias": _transposed_convolution_with_bias,
    "TFLite_Detection_PostProcess": detection_postprocess,
}
