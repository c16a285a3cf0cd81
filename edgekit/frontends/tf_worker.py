"""Reads Keras and SavedModel files in a process of its own.

`python -m edgekit.frontends.tf_worker` writes `model.onnx` beside the job. TensorFlow is imported
only after the file has been looked through.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.errors import UsageError
from edgekit.frontends.child import serve


def handle(job: dict[str, Any]) -> dict[str, Any]:
    """Read one file.

    Args:
        job: `kind` (`keras` or `saved_model`), `path`, `label`, `allow_code`.

    Returns:
        `layouts` by tensor name, `version` of the reader, `notes`.

    Raises:
        EdgeKitError: if the file cannot be read.
    """
    path, label = Path(job["path"]), str(job["label"])
    if job["kind"] == "keras":
        from edgekit.frontends.keras_reader import read_keras

        exported, version, notes = read_keras(path, label, bool(job["allow_code"]))
    elif job["kind"] == "saved_model":
        from edgekit.frontends.saved_model_reader import read_saved_model

        exported, version, notes = read_saved_model(path, label)
    else:
        raise UsageError(f"unknown job {job['kind']!r}.")
    from edgekit.frontends.onnx_files import save

    save(exported.ir, Path("model.onnx"))
    layouts = {name: str(layout) for name, layout in exported.layouts.items()}
    return {"layouts": layouts, "version": version, "notes": notes}


if __name__ == "__main__":
    serve(handle)
