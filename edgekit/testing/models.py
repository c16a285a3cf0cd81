"""Small models with known contents, made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir

from edgekit.testing.tflite import model_of

_CNN = """
<ir_version: 10, opset_import: ["" : 21]>
cnn (float[N, 3, 8, 8] image, float[8, 3, 3, 3] w0, float[8] b0, float[8, 1, 3, 3] w1,
     float[8, 8, 1, 1] w2, float[8] b2, float[10, 8] w3, float[10] b3) => (float[N, 10] scores)
{
    c0 = Conv <pads = [1, 1, 1, 1]> (image, w0, b0)
    r0 = Relu (c0)
    c1 = Conv <pads = [1, 1, 1, 1], group = 8> (r0, w1)
    r1 = Relu (c1)
    c2 = Conv (r1, w2, b2)
    sum = Add (c2, r0)
    pooled = GlobalAveragePool (sum)
    flat = Flatten (pooled)
    logits = Gemm <transB = 1> (flat, w3, b3)
    scores = Softmax <axis = -1> (logits)
}
"""

_SHAPES = {
    "w0": (8, 3, 3, 3),
    "b0": (8,),
    "w1": (8, 1, 3, 3),
    "w2": (8, 8, 1, 1),
    "b2": (8,),
    "w3": (10, 8),
    "b3": (10,),
}


def small_cnn(seed: int = 0) -> onnx_ir.Model:
    """A residual, depthwise separable classifier: (N, 3, 8, 8) `image` in, (N, 10) `scores` out."""
    rng = np.random.default_rng(seed)
    weights = {
        name: (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for name, shape in _SHAPES.items()
    }
    return model_of(_CNN, weights)


def save_small_cnn(folder: Path) -> tuple[Path, Path]:
    """The model as `cnn.onnx` with 32 calibration samples as `data.npz`, in a folder."""
    model, data = folder / "cnn.onnx", folder / "data.npz"
    onnx_ir.save(small_cnn(), model)
    images = np.random.default_rng(1).normal(size=(32, 3, 8, 8)).astype(np.float32)
    np.savez(data, image=images, labels=np.arange(32) % 10)
    return model, data
