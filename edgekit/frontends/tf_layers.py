"""Traces some Keras layers in a plainer form than their own, with the same result.

With a dynamic batch, Keras' own form of these layers computes shapes at run time, which no edge
target folds away: a Dense layer on sequences becomes a reshape to a computed shape and back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

_MATRIX = 2


def plain_call(layer: Any) -> Callable[..., Any] | None:
    """Another `call` for a layer; None where its own is plain enough.

    Args:
        layer: a layer of Keras 3 or tf-keras.
    """
    root = type(layer).__module__.partition(".")[0]
    make = _CALLS.get(type(layer).__name__) if root in ("keras", "tf_keras") else None
    return make(layer) if make else None


def _dense(layer: Any) -> Callable[..., Any] | None:
    """A matrix product that broadcasts, for inputs of more than two axes."""
    original = layer.call
    if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
        return None

    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if len(inputs.shape) <= _MATRIX or inputs.dtype != tf.as_dtype(layer.compute_dtype):
            return original(inputs, *args, **kwargs)
        kernel = tf.convert_to_tensor(layer.kernel)
        y = tf.linalg.matmul(inputs, tf.cast(kernel, inputs.dtype))
        if layer.use_bias:
            y += tf.cast(tf.convert_to_tensor(layer.bias), y.dtype)
        return y if layer.activation is None else layer.activation(y)

    return call


def _upsampling(layer: Any) -> Callable[..., Any] | None:
    """A resize, where Keras repeats rows and columns one by one."""
    original = layer.call
    if layer.interpolation != "nearest" or layer.data_format != "channels_last":
        return None

    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if None in inputs.shape[1:3]:
            return original(inputs, *args, **kwargs)
        size = [n * factor for n, factor in zip(inputs.shape[1:3], layer.size, strict=True)]
        return tf.raw_ops.ResizeNearestNeighbor(
            images=inputs, size=size, align_corners=False, half_pixel_centers=True
        )

    return call


def _transpose1d(layer: Any) -> Callable[..., Any] | None:
    """The two-dimensional convolution over one row, whose output shape is known."""
    original = layer.call
    odd = layer.data_format != "channels_last" or tuple(layer.dilation_rate) != (1,)
    if odd or getattr(layer, "output_padding", None) is not None:
        return None

    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if inputs.shape[1] is None:
            return original(inputs, *args, **kwargs)
        length = layer.compute_output_shape(tuple(inputs.shape))[1]
        kernel = tf.convert_to_tensor(layer.kernel)[None]
        y = tf.nn.conv2d_transpose(
            inputs[:, None],
            kernel,
            output_shape=[tf.shape(inputs)[0], 1, length, layer.filters],
            strides=[1, layer.strides[0]],
            padding=layer.padding.upper(),
        )
        y = tf.squeeze(y, axis=1)
        y.set_shape([inputs.shape[0], length, layer.filters])
        if layer.use_bias:
            y += tf.convert_to_tensor(layer.bias)
        return y if layer.activation is None else layer.activation(y)

    return call


_CALLS: Mapping[str, Callable[[Any], Callable[..., Any] | None]] = {
    "Dense": _dense,
    "UpSampling2D": _upsampling,
    "Conv1DTranspose": _transpose1d,
}
