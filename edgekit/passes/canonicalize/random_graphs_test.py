"""Random graphs compute the same after every pass, and the verifier holds."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.ir.verify import verify
from edgekit.passes.base import FixedPoint
from edgekit.passes.canonicalize.pipeline import canonical_passes, canonicalize
from edgekit.testing.graphs import GraphBuilder, largest_difference, random_feeds

TOLERANCE = 1e-4


class Artist:
    """Draws a random graph; keeps values by (kind, shape) where kind is image or vector."""

    def __init__(self, draw):
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.g = GraphBuilder()
        self.values = []

    def normal(self, *shape):
        return (self.rng.normal(0, 1, shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype(
            np.float32
        )

    def positive(self, *shape):
        return self.rng.uniform(0.5, 1.5, shape).astype(np.float32)

    def pick(self, rank=None):
        options = [v for v in self.values if rank is None or len(v[1]) == rank]
        return self.draw(st.sampled_from(options)) if options else None

    def add(self, value, shape):
        self.values.append((value, tuple(shape)))

    def step(self):
        value, shape = self.pick()
        moves = ANY + {4: IMAGE, 2: MATRIX, 3: SEQUENCE}.get(len(shape), ())
        self.draw(st.sampled_from(moves))(self, value, shape)


def conv(a, x, shape):
    _, c, h, w = shape
    out, k = a.draw(st.sampled_from([(4, 1), (c, 3), (6, 3)]))
    group = c if out == c and a.draw(st.booleans()) else 1
    pad = a.draw(st.integers(0, 1)) if k == 3 else 0
    if min(h, w) + 2 * pad < k:
        return
    bias = [a.normal(out)] if a.draw(st.booleans()) else []
    y = a.g.op("Conv", x, a.normal(out, c // group, k, k), *bias, pads=[pad] * 4, group=group)
    a.add(y, (shape[0], out, h + 2 * pad - k + 1, w + 2 * pad - k + 1))


def conv_transpose(a, x, shape):
    n, c, h, w = shape
    if h * w > 200:
        return
    group = 2 if c % 2 == 0 and a.draw(st.booleans()) else 1
    y = a.g.op("ConvTranspose", x, a.normal(c, 2, 2, 2), strides=[2, 2], group=group)
    a.add(y, (n, 2 * group, 2 * h, 2 * w))


def batch_norm(a, x, shape):
    c = shape[1]
    y = a.g.op(
        "BatchNormalization", x, a.normal(c), a.normal(c), a.normal(c), a.positive(c), epsilon=1e-3
    )
    a.add(y, shape)


def pool(a, x, shape):
    if min(shape[2:]) < 2:
        return
    op = a.draw(st.sampled_from(["MaxPool", "AveragePool"]))
    y = a.g.op(op, x, kernel_shape=[2, 2], strides=[2, 2])
    a.add(y, (*shape[:2], shape[2] // 2, shape[3] // 2))


def global_pool(a, x, shape):
    a.add(a.g.op("GlobalAveragePool", x), (*shape[:2], 1, 1))


def pad(a, x, shape):
    if max(shape[2:]) > 20:
        return
    value = a.draw(st.sampled_from([0.0, 0.5]))
    n = a.draw(st.integers(0, 1))
    y = a.g.op("Pad", x, [0, 0, n, n, 0, 0, n, n], np.float32(value))
    a.add(y, (*shape[:2], shape[2] + 2 * n, shape[3] + 2 * n))


def flatten(a, x, shape):
    if isinstance(shape[0], str) and a.draw(st.booleans()):
        batch = a.g.op("Slice", a.g.op("Shape", x), [0], [1])
        y = a.g.op("Reshape", x, a.g.op("Concat", batch, np.array([-1]), axis=0))
    else:
        y = a.g.op("Flatten", x)
    a.add(y, (shape[0], int(np.prod(shape[1:]))))


def to_sequence(a, x, shape):
    n, c, h, w = shape
    y = a.g.op("Reshape", x, np.array([0, c, h * w]))
    a.add(y, (n, c, h * w))


def transpose(a, x, shape):
    perm = [0, *a.draw(st.permutations(range(1, len(shape))))]
    y = a.g.op("Transpose", x, perm=perm)
    a.add(y, [shape[p] for p in perm])


def unary(a, x, shape):
    op = a.draw(st.sampled_from(["Relu", "Sigmoid", "Tanh", "Identity", "Neg", "Abs", "HardSwish"]))
    a.add(a.g.op(op, x), shape)


def with_constant(a, x, shape):
    op = a.draw(st.sampled_from(["Add", "Mul", "Sub", "Div", "Min", "Max"]))
    axis = a.draw(st.integers(1, len(shape) - 1))
    form = a.draw(st.sampled_from(["scalar", "axis", "one", "full"]))
    sizes = [shape[i] if i == axis else 1 for i in range(len(shape))]
    c = {
        "scalar": a.positive(),
        "axis": a.positive(*sizes),
        "one": np.float32(1.0),
        "full": a.positive(1, *shape[1:]),
    }[form]
    inputs = (x, c) if a.draw(st.booleans()) or op == "Div" else (c, x)
    a.add(a.g.op(op, *inputs), shape)


def binary(a, x, shape):
    same = [v for v in a.values if v[1] == shape]
    other, _ = a.draw(st.sampled_from(same))
    a.add(a.g.op(a.draw(st.sampled_from(["Add", "Mul", "Sub"])), x, other), shape)


def concat(a, x, shape):
    same = [v for v in a.values if v[1] == shape]
    other, _ = a.draw(st.sampled_from(same))
    if shape[1] <= 12:
        a.add(a.g.op("Concat", x, other, axis=1), (shape[0], 2 * shape[1], *shape[2:]))


def relu6(a, x, shape):
    a.add(a.g.op("Min", a.g.op("Relu", x), np.float32(6)), shape)


def hard_swish(a, x, shape):
    gate = a.g.op("Clip", a.g.op("Add", x, np.float32(3)), np.float32(0), np.float32(6))
    a.add(a.g.op("Mul", a.g.op("Mul", x, gate), np.float32(1 / 6)), shape)


def gelu(a, x, shape):
    gate = a.g.op("Add", a.g.op("Erf", a.g.op("Div", x, np.float32(2**0.5))), np.float32(1))
    a.add(a.g.op("Mul", a.g.op("Mul", x, gate), np.float32(0.5)), shape)


def squeeze_unsqueeze(a, x, shape):
    y = a.g.op("Unsqueeze", x, [len(shape)])
    a.add(a.g.op("Squeeze", y, [len(shape)]), shape)


def slice_all(a, x, shape):
    a.add(a.g.op("Slice", x, [0], [2**31], [1]), shape)


def gemm(a, x, shape):
    trans = a.draw(st.booleans())
    weight = a.normal(shape[1], 5)
    y = a.g.op("Gemm", x, weight.T if trans else weight, a.normal(5), transB=int(trans), alpha=0.5)
    a.add(y, (shape[0], 5))


def matmul(a, x, shape):
    a.add(a.g.op("MatMul", x, a.normal(shape[-1], 5)), (*shape[:-1], 5))


def dense(a, x, shape):
    y = a.g.op("Add", a.g.op("MatMul", x, a.normal(shape[-1], 4)), a.normal(4))
    a.add(y, (*shape[:-1], 4))


def layer_norm(a, x, shape):
    mean = a.g.op("ReduceMean", x, [-1])
    centred = a.g.op("Sub", x, mean)
    var = a.g.op("ReduceMean", a.g.op("Mul", centred, centred), [-1])
    norm = a.g.op("Div", centred, a.g.op("Sqrt", a.g.op("Add", var, np.float32(1e-2))))
    scaled = a.g.op("Mul", norm, a.positive(shape[-1]))
    a.add(a.g.op("Add", scaled, a.normal(shape[-1])), shape)


ANY = (
    unary,
    with_constant,
    binary,
    concat,
    transpose,
    relu6,
    hard_swish,
    gelu,
    squeeze_unsqueeze,
    slice_all,
)
IMAGE = (
    conv,
    conv,
    batch_norm,
    batch_norm,
    conv_transpose,
    pool,
    global_pool,
    pad,
    flatten,
    to_sequence,
)
SEQUENCE = (matmul, dense, batch_norm, layer_norm)
MATRIX = (gemm, matmul, dense, batch_norm, layer_norm)


@st.composite
def models(draw):
    artist = Artist(draw)
    shape = (draw(st.sampled_from([1, "N"])), 4, 6, 6)
    artist.add(artist.g.input("x", shape), shape)
    for _ in range(draw(st.integers(1, 12))):
        artist.step()
    outputs = {id(artist.values[-1][0]): artist.values[-1][0]}
    extra, _ = artist.pick()
    outputs[id(extra)] = extra
    made = [v for v in outputs.values() if v.producer() is not None]
    return artist.g.build(*made) if made else artist.g.build(artist.g.op("Relu", extra))


def quiet(examples):
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@quiet(60)
@given(models())
def test_canonical_graph_computes_the_same(model):
    after = canonicalize(model)
    feeds = random_feeds(model)
    assert largest_difference(model, after, feeds) < TOLERANCE
    before = model.signature
    assert [s.name for s in after.signature.inputs] == [s.name for s in before.inputs]
    assert [s.name for s in after.signature.outputs] == [s.name for s in before.outputs]


@quiet(15)
@given(models())
def test_every_pass_keeps_the_meaning(model):
    work = model.clone()
    feeds = random_feeds(model)
    for step in canonical_passes():
        for part in step.passes if isinstance(step, FixedPoint) else (step,):
            if part(work.ir).modified:
                verify(work.ir)
                assert largest_difference(model, work, feeds) < TOLERANCE, type(part).__name__


@quiet(10)
@given(models())
def test_a_second_run_changes_nothing(model):
    once = canonicalize(model)
    twice = canonicalize(once)
    kinds = [node.op_type for node in once.graph]
    assert [node.op_type for node in twice.graph] == kinds
