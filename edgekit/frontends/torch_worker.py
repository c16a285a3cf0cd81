"""Reads `.pt2` files in a process of its own.

`python -m edgekit.frontends.torch_worker` writes `model.onnx` beside the job.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.errors import ModelFileError
from edgekit.frontends.child import serve
from edgekit.frontends.onnx_files import save


def handle(job: dict[str, Any]) -> dict[str, Any]:
    """Read one file.

    Args:
        job: `path` and `label`.

    Returns:
        `version` of PyTorch and `notes`.

    Raises:
        EdgeKitError: if the file cannot be read.
    """
    import torch

    from edgekit.frontends.torch_export import export_program

    label = str(job["label"])
    try:
        program = torch.export.load(job["path"])
    except Exception as e:
        # PyTorch reports damage by whatever exception it leads to.
        line = (str(e).strip() or type(e).__name__).splitlines()[0][:300]
        raise ModelFileError(
            f"{label} cannot be loaded by PyTorch {torch.__version__}: {line}",
            hint="it is damaged, or written by a version of PyTorch that this one cannot read",
        ) from e
    exported = export_program(program, label)
    save(exported.ir, Path("model.onnx"))
    return {"version": torch.__version__, "notes": list(exported.notes)}


if __name__ == "__main__":
    serve(handle)
