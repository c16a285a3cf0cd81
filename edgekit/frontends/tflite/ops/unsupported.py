"""Operators that are known and cannot be read, with the reason."""

from __future__ import annotations

_CONTROL = ("it runs another subgraph", "export the model without control flow")
_STATE = ("it keeps state in a resource", "make the state an input and an output of the model")
_TABLE = ("it looks up a hash table", "move the lookup into the preprocessing")
_RANDOM = ("its result is random", "remove it, or export the model for inference")
_COMPLEX = ("it computes with complex numbers", "move it into the preprocessing")
_TEXT = ("it works on text", "move it into the preprocessing")

UNSUPPORTED: dict[str, tuple[str, str]] = {
    "ASSIGN_VARIABLE": _STATE,
    "CALL": _CONTROL,
    "CALL_ONCE": _STATE,
    "COMPLEX_ABS": _COMPLEX,
    "DELEGATE": ("it was compiled for one device", "use the model from before delegation"),
    "HASHTABLE": _TABLE,
    "HASHTABLE_FIND": _TABLE,
    "HASHTABLE_IMPORT": _TABLE,
    "HASHTABLE_LOOKUP": _TABLE,
    "HASHTABLE_SIZE": _TABLE,
    "IF": _CONTROL,
    "IMAG": _COMPLEX,
    "LSH_PROJECTION": _TEXT,
    "MULTINOMIAL": _RANDOM,
    "RANDOM_STANDARD_NORMAL": _RANDOM,
    "RANDOM_UNIFORM": _RANDOM,
    "READ_VARIABLE": _STATE,
    "REAL": _COMPLEX,
    "RFFT2D": _COMPLEX,
    "SKIP_GRAM": _TEXT,
    "SVDF": ("it keeps state between invocations", "export the layer unfused"),
    "VAR_HANDLE": _STATE,
    "WHILE": _CONTROL,
}
"""Builtin operator → (reason, hint). What is not here nor in the table is simply not known."""
