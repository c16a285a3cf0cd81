"""The demo: a trained Keras model → four INT8 artifacts, each compared with float.

    python examples/digits/demo.py [OUTPUT]

Calibrates on a part of the training images and evaluates every artifact on its own runtime, on
test images that neither training nor calibration has seen.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from dataset import Array, digits

import edgekit
from edgekit import registry
from edgekit.errors import EdgeKitError
from edgekit.runtimes.base import Runtime

CALIBRATION_SAMPLES = 200


def accuracy(run: Runtime, path: Path, images: Array, labels: Array) -> float:
    """Top-1 accuracy of an artifact on its runtime."""
    with run.open(path) as session:
        name = session.signature.inputs[0].name
        scores = next(iter(session.run({name: images}).values()))
    return float((scores.argmax(1) == labels).mean())


def main() -> int:
    """Convert, evaluate, print."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "out/digits")
    train_x, train_y, test_x, test_y = digits()
    output.parent.mkdir(parents=True, exist_ok=True)
    data = output.parent / "digits_calibration.npz"
    np.savez(data, image=train_x[:CALIBRATION_SAMPLES], labels=train_y[:CALIBRATION_SAMPLES])
    model = Path(__file__).with_name("digits.keras")
    float_bundle = edgekit.convert(
        model,
        targets="onnxruntime",
        precision="fp32",
        output=output.with_name("digits_float"),
        force=True,
    )
    bundle = edgekit.convert(model, precision="int8", calibration=data, output=output, force=True)

    float_path = float_bundle.resolve(float_bundle.artifact("onnxruntime").path)
    baseline = accuracy(registry.runtime("onnxruntime"), float_path, test_x, test_y)
    size = float_path.stat().st_size
    print(f"{model.name}, {len(test_x)} test images, {CALIBRATION_SAMPLES} calibration images\n")
    print(f"{'artifact':14}{'status':11}{'KiB':>7}{'vs float':>10}{'accuracy':>10}{'drift':>13}")
    print(f"{'float':14}{'baseline':11}{size / 1024:7.1f}{'':10}{baseline:10.2%}")
    for artifact in bundle.artifacts:
        ratio = f"{artifact.bytes / size:.2f}x"
        line = f"{artifact.target:14}{artifact.status:11}{artifact.bytes / 1024:7.1f}{ratio:>10}"
        if artifact.status == "verified":
            path = bundle.resolve(artifact.path)
            found = accuracy(registry.runtime(artifact.target), path, test_x, test_y)
            line += f"{found:10.2%}{(found - baseline) * 100:+7.2f} points"
        else:
            line += f"{'not run':>10}"
        print(line)
        for note in artifact.notes:
            print(f"{'':14}{note}")
    print(f"\nwritten to {output}; read {output / 'manifest.json'} next")
    return 1 if any(item.status == "failed" for item in bundle.artifacts) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeKitError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(e.exit_code)
