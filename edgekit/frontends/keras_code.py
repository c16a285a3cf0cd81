"""Looks for code and foreign classes in a Keras model's configuration before Keras reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from edgekit.errors import ModelFileError, Reason, UnsupportedError

_LAMBDA = (
    "holds Python code, which reading the file would run",
    "replace it by a standard layer, or pass --allow-code (allow_code=True) if you trust the file",
)
_CUSTOM = (
    "is not one of Keras' own",
    "load it in Python with its custom_objects and pass the model to edgekit.load, or pass "
    "--allow-code (allow_code=True) if its package is installed and trusted",
)
_TF_CALL = (
    "calls a TensorFlow function that may reach outside the model",
    "pass --allow-code (allow_code=True) if you trust the file",
)

_CODE_CLASSES = frozenset(("Lambda", "__lambda__"))
_TF_CALLS = frozenset(("TFOpLambda", "ClassMethod", "SlicingOpLambda", "InstanceMethod"))
_TF_UNSAFE = frozenset(
    (
        "autograph",
        "compat",
        "config",
        "data",
        "debugging",
        "distribute",
        "dtypes",
        "errors",
        "estimator",
        "experimental",
        "feature_column",
        "function",
        "graph_util",
        "io",
        "keras",
        "load_library",
        "load_op_library",
        "lookup",
        "mlir",
        "numpy_function",
        "profiler",
        "py_function",
        "queue",
        "raw_ops",
        "saved_model",
        "summary",
        "sysconfig",
        "test",
        "tpu",
        "train",
        "types",
        "version",
        "xla",
        "__internal__",
        "print",
    )
)
"""First parts of names in TensorFlow's public API that do more than compute a tensor."""

_ROOTS = frozenset(("keras", "tf_keras", "tensorflow", "builtins"))
_UNITS = frozenset(
    (
        "activations",
        "backend",
        "constraints",
        "dtype_policies",
        "engine",
        "initializers",
        "layers",
        "legacy",
        "losses",
        "metrics",
        "mixed_precision",
        "models",
        "ops",
        "optimizers",
        "quantizers",
        "random",
        "regularizers",
    )
)
"""Parts of Keras whose classes a model configuration may name."""

_PASSAGES = frozenset(("src", "api", "python", "_tf_keras"))
"""Folders of Keras' packages that say nothing about what lies in them."""

_SKIPPED_AT_TOP = frozenset(("compile_config", "training_config"))
"""How the model was trained; it is never deserialized."""


def check_config(text: str | bytes, label: str) -> None:
    """Refuse a configuration that holds code or names classes outside Keras.

    Args:
        text: the JSON that Keras stores with a model.
        label: what messages call the file.

    Raises:
        ModelFileError: if it is no JSON object.
        UnsupportedError: with a reason for each such layer.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise ModelFileError(f"the model configuration of {label} is damaged: {e}.") from e
    if not isinstance(config, dict):
        raise ModelFileError(f"the model configuration of {label} is no JSON object.")
    top = {key: value for key, value in config.items() if key not in _SKIPPED_AT_TOP}
    reasons = list(dict.fromkeys(r for entry, name in _objects(top) if (r := _judge(entry, name))))
    if reasons:
        raise UnsupportedError(f"{label} is refused before it is loaded:", reasons=reasons)


def _objects(config: Any) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every JSON object inside, with the name of the layer it belongs to."""
    stack: list[tuple[Any, str]] = [(config, "model")]
    while stack:
        entry, name = stack.pop()
        if isinstance(entry, dict):
            inner = entry.get("config")
            own = inner.get("name") if isinstance(inner, dict) else None
            name = own if isinstance(own, str) else name
            yield entry, name
            stack.extend((value, name) for value in entry.values())
        elif isinstance(entry, list):
            stack.extend((value, name) for value in entry)


def _judge(entry: Mapping[str, Any], name: str) -> Reason | None:
    kind = entry.get("class_name")
    if entry.get("function_type") == "lambda":
        return Reason(name, "Lambda", *_LAMBDA)
    if not isinstance(kind, str):
        return None
    plain = kind.rpartition(">")[2]
    if plain in _CODE_CLASSES:
        return Reason(name, "Lambda", *_LAMBDA)
    if kind in _TF_CALLS and _reaches_out(entry):
        return Reason(name, kind, *_TF_CALL)
    if _is_foreign(entry, kind):
        return Reason(name, kind, *_CUSTOM)
    return None


def _reaches_out(entry: Mapping[str, Any]) -> bool:
    config = entry.get("config")
    target = config.get("function", "") if isinstance(config, dict) else ""
    return not isinstance(target, str) or target.partition(".")[0] in _TF_UNSAFE


def _is_foreign(entry: Mapping[str, Any], kind: str) -> bool:
    registered = entry.get("registered_name")
    package = kind if ">" in kind else registered if isinstance(registered, str) else ""
    if ">" in package and package.partition(">")[0].lower() not in _ROOTS:
        return True
    module = entry.get("module")
    if module is None:
        return False
    if not isinstance(module, str):
        return True
    parts = [part for part in module.split(".") if part not in _PASSAGES]
    if not parts or parts[0] not in _ROOTS:
        return True
    inner = [part for part in parts if part not in _ROOTS]
    return bool(inner) and inner[0] not in _UNITS
