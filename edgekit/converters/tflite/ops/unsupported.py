"""Operators without an equivalent in TFLite, with what to do about each."""

from __future__ import annotations

import onnx_ir

from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering

_FIX_SHAPES = "compute it outside of the model, since the size of its result depends on the data"
_RANDOM = "draw random numbers outside of the model and pass them as an input"
_PLAIN = "compute it outside of the model"

_REASONS = {
    "Unique": (
        "TFLite only finds the unique elements of vectors, unsorted",
        _FIX_SHAPES,
    ),
    "Compress": ("the size of the result depends on the data", _FIX_SHAPES),
    "Bernoulli": ("random numbers are not reproducible in TFLite", _RANDOM),
    "Multinomial": ("random numbers are not reproducible in TFLite", _RANDOM),
    "RandomNormal": ("random numbers are not reproducible in TFLite", _RANDOM),
    "RandomNormalLike": ("random numbers are not reproducible in TFLite", _RANDOM),
    "RandomUniform": ("random numbers are not reproducible in TFLite", _RANDOM),
    "RandomUniformLike": ("random numbers are not reproducible in TFLite", _RANDOM),
    "StringConcat": ("TFLite has no operator on strings", _PLAIN),
    "StringNormalizer": ("TFLite has no operator on strings", _PLAIN),
    "StringSplit": ("TFLite has no operator on strings", _PLAIN),
    "RegexFullMatch": ("TFLite has no operator on strings", _PLAIN),
    "TfIdfVectorizer": ("TFLite has no operator on strings", _PLAIN),
    "Det": ("TFLite has no determinant", _PLAIN),
}


def refuse(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Say why an operator cannot be expressed."""
    del ctx
    raise CannotLower(*_REASONS[node.op_type])


LOWERINGS: dict[str, Lower] = dict.fromkeys(_REASONS, refuse)
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset()
"""Operators whose lowering is right for int8 tensors too."""
