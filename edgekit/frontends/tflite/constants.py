"""The values of constants: element types, packed 4-bit and 2-bit integers, sparse tensors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from edgekit.errors import ModelFileError
from edgekit.frontends.tflite.sparsity import densify, stored_elements

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.frontends.tflite.flatbuffer import Table

NUMPY: dict[str, np.dtype[Any]] = {
    "FLOAT32": np.dtype("<f4"),
    "FLOAT16": np.dtype("<f2"),
    "BFLOAT16": np.dtype(ml_dtypes.bfloat16),
    "FLOAT64": np.dtype("<f8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "BOOL": np.dtype("?"),
    "INT4": np.dtype("i1"),
    "INT2": np.dtype("i1"),
    "UINT4": np.dtype("u1"),
}
"""Element types that have values here; packed ones are unpacked to a byte each."""

_PACKED_BITS = {"INT4": 4, "UINT4": 4, "INT2": 2}


def decode_constant(
    raw: memoryview, dtype: str, sizes: tuple[int, ...], sparsity: Table | None, where: str
) -> NDArray[Any] | None:
    """The array in a buffer; None for a type without numeric values (strings, resources).

    Args:
        raw: contents of the buffer.
        dtype: name in the schema's `TensorType`.
        sizes: the tensor's shape.
        sparsity: the sparsity parameters, when only some elements are stored.
        where: names the tensor in messages.

    Raises:
        ModelFileError: if the number of bytes is not what type and shape ask for.
    """
    kind = NUMPY.get(dtype)
    if kind is None:
        return None
    if min(sizes, default=0) < 0:
        raise ModelFileError(f"{where} is a constant with an open shape {list(sizes)}.")
    count = math.prod(sizes)
    stored = count if sparsity is None else stored_elements(sparsity)
    bits = _PACKED_BITS.get(dtype, 0)
    expected = -(-stored * bits // 8) if bits else stored * kind.itemsize
    if len(raw) != expected:
        raise ModelFileError(
            f"{where} of type {dtype} and shape {list(sizes)} needs {expected} bytes, "
            f"but the file holds {len(raw)}."
        )
    values = _unpack(raw, bits, dtype, stored) if bits else np.frombuffer(raw, kind)
    if dtype == "BOOL":
        values = np.frombuffer(raw, np.uint8) != 0
    return values.reshape(sizes) if sparsity is None else densify(values, sizes, sparsity, where)


def _unpack(raw: memoryview, bits: int, dtype: str, count: int) -> NDArray[Any]:
    """Integers of 2 or 4 bits, lowest bits first, one byte each."""
    packed = np.frombuffer(raw, np.uint8)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    values = ((packed[:, None] >> shifts) & ((1 << bits) - 1)).reshape(-1)[:count]
    if dtype.startswith("U"):
        return values
    half = 1 << (bits - 1)
    return ((values ^ half).astype(np.int16) - half).astype(np.int8)
