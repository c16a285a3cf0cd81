"""Operators without an equivalent in TFLite, with what to do about each."""

from __future__ import annotations

import onnx_ir

from edgekit.converters.tflite.lowering import CannotLower, Lower, Lowering

_DATA = "compute it outside of the model, since the size of its result depends on the data"
_OUTSIDE = "compute it outside of the model"
_RANDOM = "draw random numbers outside of the model and pass them as an input"
_UNROLL = "export the model with its loops unrolled and its branches chosen"
_TENSORS = "export the model with tensors in place of sequences and optionals"

_BY_REASON: dict[tuple[str, str], tuple[str, ...]] = {
    ("TFLite only finds the unique elements of vectors, unsorted", _DATA): ("Unique",),
    ("the size of the result depends on the data", _DATA): ("Compress",),
    ("random numbers are not reproducible in TFLite", _RANDOM): (
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    ),
    ("TFLite has no operator on strings", _OUTSIDE): (
        "RegexFullMatch",
        "StringConcat",
        "StringNormalizer",
        "StringSplit",
        "TfIdfVectorizer",
    ),
    ("TFLite has no sequences and optional values", _TENSORS): (
        "ConcatFromSequence",
        "Optional",
        "OptionalGetElement",
        "OptionalHasElement",
        "SequenceAt",
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SequenceLength",
        "SplitToSequence",
    ),
    ("control flow that depends on the data is not converted", _UNROLL): (
        "If",
        "Loop",
        "Scan",
        "SequenceMap",
    ),
    ("TFLite has no bitwise and, nor or", "use And and Or on bool"): ("BitwiseAnd", "BitwiseOr"),
    ("TFLite has no such operator", _OUTSIDE): ("Det", "ImageDecoder", "MaxUnpool"),
}
_REASONS = {op: why for why, ops in _BY_REASON.items() for op in ops}


def refuse(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Say why an operator cannot be expressed."""
    del ctx
    raise CannotLower(*_REASONS[node.op_type])


LOWERINGS: dict[str, Lower] = dict.fromkeys(_REASONS, refuse)
"""ONNX operator type → its lowering."""

INT8_READY: frozenset[str] = frozenset()
"""Operators whose lowering is right for int8 tensors too."""
