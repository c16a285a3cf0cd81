import numpy as np
import pytest

from edgekit.testing.tflite import assert_same, model_of


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
def test_binary_broadcasts(op):
    model = model_of(
        f'<ir_version: 10, opset_import: ["" : 21]> g (float[N,3] x, float[3] y) => (float[N,3] z)'
        f"{{ z = {op}(x, y) }}"
    )
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(2, 3)).astype("f"), "y": rng.normal(size=3).astype("f")}
    assert assert_same(model, feeds) == [op.upper()]
