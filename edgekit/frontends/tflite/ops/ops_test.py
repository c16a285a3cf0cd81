"""Every float operator, read and run, against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.frontends.tflite.importer import import_subgraph
from edgekit.frontends.tflite.ops.table import BUILTIN_OPS
from edgekit.frontends.tflite.reader import read_model
from edgekit.testing.tiny_tflite import TinyModel, assert_same

F = np.float32


def values(shape, seed=0, low=-2.0, high=2.0, dtype=F):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.uniform(low, high, shape).astype(dtype)
    if np.dtype(dtype) == bool:
        return rng.integers(0, 2, shape).astype(bool)
    return rng.integers(int(low), int(high) + 1, shape).astype(dtype)


def check(kind, feeds, constants=(), options=None, options_kind="", outputs=("FLOAT32",),
          order=None, version=1, tolerance=1e-5, shape=(1,)):  # fmt: skip
    """One operator whose inputs are the feeds, then the constants (`order` rearranges them)."""
    tiny = TinyModel()
    names = {"float32": "FLOAT32", "int32": "INT32", "int64": "INT64", "bool": "BOOL",
             "float16": "FLOAT16"}  # fmt: skip
    operands = [tiny.input(f.shape, names[f.dtype.name]) for f in feeds]
    operands += [-1 if c is None else tiny.constant(c) for c in constants]
    if order:
        operands = [operands[i] for i in order]
    results = [tiny.tensor(shape, dtype) for dtype in outputs]
    tiny.op(kind, operands, results, options, options_kind=options_kind, version=version)
    tiny.output(*results)
    model = tiny.settle(feeds)
    assert_same(model, feeds, tolerance)


X = values((2, 3, 4, 5))
UNARY = {
    "ABS": {},
    "CEIL": {},
    "COS": {},
    "ELU": {},
    "EXP": {},
    "FLOOR": {},
    "HARD_SWISH": {},
    "LOGISTIC": {},
    "LOG_SOFTMAX": {},
    "NEG": {},
    "RELU": {},
    "RELU6": {"low": -8, "high": 8},
    "RELU_0_TO_1": {},
    "RELU_N1_TO_1": {},
    "ROUND": {},
    "SIGN": {},
    "SIN": {},
    "SQUARE": {},
    "TANH": {},
    "ZEROS_LIKE": {},
    "LOG": {"low": 0.1, "high": 4},
    "RSQRT": {"low": 0.1, "high": 4},
    "SQRT": {"low": 0.1, "high": 4},
}


@pytest.mark.parametrize("kind", UNARY)
def test_unary(kind):
    check(kind, [values((2, 3, 4, 5), **UNARY[kind])])


@pytest.mark.parametrize("activation", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL", "DIV"])
def test_fused_activation(kind, activation):
    options = {"fusedActivationFunction": activation}
    feeds = [values((2, 3, 4), low=-9, high=9), values((3, 1), 1, low=1, high=3)]
    check(kind, feeds, options=options, options_kind=f"{kind.title()}Options")


@pytest.mark.parametrize(
    ("kind", "low"),
    [
        ("MAXIMUM", -2),
        ("MINIMUM", -2),
        ("SQUARED_DIFFERENCE", -2),
        ("FLOOR_DIV", 0.5),
        ("FLOOR_MOD", 0.5),
        ("POW", 0.1),
    ],
)
def test_binary(kind, low):
    check(kind, [values((2, 3, 4), low=low), values((1, 4), 1, low=low)])


@pytest.mark.parametrize("kind", ["FLOOR_DIV", "FLOOR_MOD", "DIV", "MAXIMUM", "ADD", "MUL"])
def test_binary_of_integers_of_both_signs(kind):
    x = np.array([7, -7, 7, -7, 6, -6, 0], np.int32)
    y = np.array([3, 3, -3, -3, 3, -2, 5], np.int32)
    check(kind, [x, y], outputs=("INT32",))


@pytest.mark.parametrize(
    "kind", ["EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"]
)
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_comparison(kind, dtype):
    check(kind, [values((4, 6), 0, dtype=dtype), values((6,), 1, dtype=dtype)], outputs=("BOOL",))


@pytest.mark.parametrize("kind", ["LOGICAL_AND", "LOGICAL_OR"])
def test_logical(kind):
    check(kind, [values((4, 6), 0, dtype=bool), values((4, 6), 1, dtype=bool)], outputs=("BOOL",))


def test_logical_not():
    check("LOGICAL_NOT", [values((4, 6), dtype=bool)], outputs=("BOOL",))


def test_add_n():
    check("ADD_N", [values((2, 3), i) for i in range(3)], options_kind="AddNOptions")


def test_atan2_in_all_quadrants_and_on_the_axes():
    y = np.array([1, 1, -1, -1, 0, 0, 1, -1, 0.0], F)
    x = np.array([1, -1, 1, -1, 1, -1, 0, 0, 0.5], F)
    check("ATAN2", [y, x], options_kind="ATan2Options")


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu(approximate):
    check("GELU", [X], options={"approximate": approximate}, options_kind="GeluOptions",
          tolerance=1e-4)  # fmt: skip


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_softmax(beta):
    check("SOFTMAX", [X], options={"beta": beta}, options_kind="SoftmaxOptions")


def test_leaky_relu():
    check("LEAKY_RELU", [X], options={"alpha": 0.2}, options_kind="LeakyReluOptions")


@pytest.mark.parametrize("shape", [(1, 1, 5), (3, 4, 5)])
def test_prelu(shape):
    check("PRELU", [X], [values(shape, 1, 0, 1)])


def test_l2_normalization():
    check("L2_NORMALIZATION", [X], options_kind="L2NormOptions")


def test_local_response_normalization():
    options = {"radius": 2, "bias": 1.5, "alpha": 0.3, "beta": 0.6}
    check("LOCAL_RESPONSE_NORMALIZATION", [X], options=options,
          options_kind="LocalResponseNormalizationOptions")  # fmt: skip


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"])
@pytest.mark.parametrize(
    ("window", "stride"), [((2, 2), (2, 2)), ((3, 2), (1, 2)), ((5, 5), (3, 3))]
)
def test_pooling(kind, padding, window, stride):
    options = {
        "padding": padding, "filterHeight": window[0], "filterWidth": window[1],
        "strideH": stride[0], "strideW": stride[1], "fusedActivationFunction": 1,
    }  # fmt: skip
    check(kind, [values((2, 7, 6, 3))], options=options, options_kind="Pool2DOptions")


@pytest.mark.parametrize("kind", ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"])
@pytest.mark.parametrize(("axes", "keep"), [([1, 2], True), ([-1], False), ([0, 3], False)])
def test_reduction(kind, axes, keep):
    check(kind, [X], [np.array(axes, np.int32)], {"keepDims": keep}, "ReducerOptions")


@pytest.mark.parametrize("kind", ["REDUCE_ANY", "REDUCE_ALL"])
def test_logical_reduction(kind):
    check(kind, [values((3, 4, 2), dtype=bool)], [np.array([1], np.int32)], {"keepDims": False},
          "ReducerOptions", outputs=("BOOL",))  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "options"), [("ARG_MAX", "ArgMaxOptions"), ("ARG_MIN", "ArgMinOptions")]
)
@pytest.mark.parametrize("out", ["INT32", "INT64"])
def test_arg(kind, options, out):
    code = {"INT32": 2, "INT64": 4}[out]
    check(kind, [X], [np.array(-1, np.int32)], {"outputType": code}, options, outputs=(out,))


def test_top_k():
    check("TOPK_V2", [X], [np.array(3, np.int32)], outputs=("FLOAT32", "INT32"))


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_cumsum(exclusive, reverse):
    options = {"exclusive": exclusive, "reverse": reverse}
    check("CUMSUM", [X], [np.array(2, np.int32)], options, "CumsumOptions")


def test_reshape_by_input_and_by_option():
    check("RESHAPE", [X], [np.array([6, -1], np.int32)])
    check("RESHAPE", [X], options={"newShape": np.array([4, 30], np.int32)},
          options_kind="ReshapeOptions")  # fmt: skip


@pytest.mark.parametrize("dims", [[0], [0, 2], []])
def test_squeeze(dims):
    options = {"squeezeDims": np.array(dims, np.int32)}
    check("SQUEEZE", [values((1, 3, 1, 4))], options=options, options_kind="SqueezeOptions")


@pytest.mark.parametrize("axis", [0, 2, -1])
def test_expand_dims(axis):
    check("EXPAND_DIMS", [values((3, 4))], [np.array(axis, np.int32)])


def test_transpose():
    check("TRANSPOSE", [X], [np.array([3, 0, 2, 1], np.int32)])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_pack_and_unpack(axis):
    parts = [values((3, 4), i) for i in range(3)]
    check("PACK", parts, options={"axis": axis, "valuesCount": 3}, options_kind="PackOptions")
    check("UNPACK", [values((3, 3, 3))], options={"axis": axis, "num": 3},
          options_kind="UnpackOptions", outputs=("FLOAT32",) * 3)  # fmt: skip


def test_concatenation():
    parts = [values((2, 3, n, 5), n) for n in (1, 2, 4)]
    check("CONCATENATION", parts, options={"axis": -2}, options_kind="ConcatenationOptions")


def test_split():
    check("SPLIT", [X], [np.array(2, np.int32)], {"numSplits": 2}, "SplitOptions",
          outputs=("FLOAT32",) * 2, order=(1, 0))  # fmt: skip


def test_split_v():
    check("SPLIT_V", [X], [np.array([1, -1, 2], np.int32), np.array(3, np.int32)],
          {"numSplits": 3}, "SplitVOptions", outputs=("FLOAT32",) * 3)  # fmt: skip


def test_slice():
    check(
        "SLICE",
        [X],
        [np.array([0, 1, 2, 0], np.int32), np.array([2, -1, 1, 3], np.int32)],
        shape=(2, 2, 1, 3),
    )


def test_slice_with_computed_begin():
    begin = np.array([0, 1, 2, 0], np.int32)
    check("SLICE", [X, begin], [np.array([2, -1, 1, 3], np.int32)], shape=(2, 2, 1, 3))


@pytest.mark.parametrize(
    ("begin", "end", "strides", "masks"),
    [
        ([0, 1], [2, 3], [1, 2], {}),
        ([0, -1], [2, 0], [1, -1], {}),
        ([1, 0, 0], [2, 0, 0], [1, 1, 1], {"shrinkAxisMask": 1, "endMask": 6, "beginMask": 6}),
        ([-1, 0], [0, 4], [1, 1], {"shrinkAxisMask": 1}),
        ([0, 0, 1], [0, 0, 3], [1, 1, 1], {"ellipsisMask": 2, "newAxisMask": 1}),
        ([0, 0, 0], [0, 0, 0], [1, 1, -1], {"ellipsisMask": 1, "beginMask": 6, "endMask": 6}),
        ([1, 5], [9, 9], [1, 1], {"newAxisMask": 2}),
    ],
)
@pytest.mark.parametrize("computed", [False, True])
def test_strided_slice(begin, end, strides, masks, computed):
    bounds = [np.array(b, np.int32) for b in (begin, end)]
    step = np.array(strides, np.int32)
    if computed:
        check("STRIDED_SLICE", [X, *bounds], [step], masks, "StridedSliceOptions")
    else:
        check("STRIDED_SLICE", [X], [*bounds, step], masks, "StridedSliceOptions")


def test_tile_broadcast_fill_range():
    check("TILE", [values((2, 3))], [np.array([2, 3], np.int32)])
    check("BROADCAST_TO", [values((3, 1))], [np.array([2, 3, 4], np.int32)], version=2)
    check("FILL", [np.array(2.5, F)], [np.array([2, 3], np.int32)], order=(1, 0))
    check("RANGE", [np.array(1, np.int32)], [np.array(9, np.int32), np.array(3, np.int32)],
          outputs=("INT32",))  # fmt: skip
    check("BROADCAST_ARGS", [np.array([3, 1], np.int32)], [np.array([2, 3, 4], np.int32)],
          outputs=("INT32",))  # fmt: skip


def test_shape_and_rank():
    tiny = TinyModel()
    x = tiny.input((2, 3, 4))
    shape, rank, total = (
        tiny.tensor((3,), "INT32"),
        tiny.tensor((), "INT32"),
        tiny.tensor((3,), "INT32"),
    )
    tiny.op("SHAPE", [x], [shape], {"outType": 2}, options_kind="ShapeOptions")
    tiny.op("RANK", [x], [rank])
    tiny.op("ADD", [shape, rank], [total], options_kind="AddOptions")
    tiny.output(total)
    feeds = [values((2, 3, 4))]
    assert_same(tiny.settle(feeds), feeds)


@pytest.mark.parametrize(
    ("data", "indices", "axis", "batch"),
    [
        ((5, 4), (3,), 0, 0),
        ((3, 5, 4), (2, 2), 1, 0),
        ((3, 5, 4), (3, 2), 1, 1),
        ((3, 5, 4), (3, 2), 2, 1),
        ((2, 3, 5, 4), (2, 3, 2), 3, 2),
        ((2, 3, 5, 4), (2,), -1, 0),
    ],
)
def test_gather(data, indices, axis, batch):
    places = values(indices, 1, 0, 2, np.int32)
    options = {"axis": axis, "batchDims": batch}
    check("GATHER", [values(data), places], options=options, options_kind="GatherOptions")


def test_gather_nd():
    check("GATHER_ND", [values((3, 4, 5))], [np.array([[0, 1], [2, 3]], np.int32)])


def test_scatter_nd_adds_what_meets():
    constants = [np.array([[1], [4], [1]], np.int32), np.array([6, 4], np.int32)]
    check("SCATTER_ND", [values((3, 4))], constants, order=(1, 0, 2))


def test_embedding_lookup():
    check("EMBEDDING_LOOKUP", [np.array([3, 0, 1], np.int32)], [values((5, 4))])


@pytest.mark.parametrize("axis", [-1, 0])
def test_one_hot_of_negative_and_large_indices(axis):
    indices = np.array([[0, 2], [-1, 7]], np.int32)
    constants = [np.array(4, np.int32), np.array(5.0, F), np.array(-1.0, F)]
    check("ONE_HOT", [indices], constants, {"axis": axis}, "OneHotOptions")


def test_select():
    rows = [values((4,), dtype=bool), values((4, 3), 1), values((4, 3), 2)]
    check("SELECT", rows)
    check("SELECT_V2", [values((4, 1), dtype=bool), values((3,), 1), values((4, 3), 2)])


def test_where():
    check("WHERE", [values((4, 3), dtype=bool)], outputs=("INT64",))


@pytest.mark.parametrize(
    ("source", "out"),
    [(np.float32, "INT32"), (np.int32, "FLOAT32"), (np.int32, "BOOL"), (np.float32, "BOOL"),
     (bool, "FLOAT32"), (np.int64, "INT32")],
)  # fmt: skip
def test_cast(source, out):
    check("CAST", [values((3, 4), low=-3, high=3, dtype=source)], outputs=(out,))


def test_reverse():
    check("REVERSE_V2", [X], [np.array([1, 2], np.int32)], version=2)


@pytest.mark.parametrize(("time", "batch"), [(1, 0), (0, 1), (2, 0), (3, 1)])
def test_reverse_sequence(time, batch):
    x = values((3, 3, 4, 5))
    lengths = np.array([1, 3, 2][: x.shape[batch]], np.int32)
    options = {"seqDim": time, "batchDim": batch}
    check("REVERSE_SEQUENCE", [x], [lengths], options, "ReverseSequenceOptions")


def test_pad():
    rows = np.array([[0, 0], [1, 2], [0, 3], [1, 0]], np.int32)
    check("PAD", [X], [rows])
    check("PADV2", [X], [rows, np.array(1.5, F)])


@pytest.mark.parametrize("mode", [0, 1])
def test_mirror_pad(mode):
    rows = np.array([[0, 1], [2, 2], [3, 0], [1, 4]], np.int32)
    check("MIRROR_PAD", [X], [rows], {"mode": mode}, "MirrorPadOptions")


@pytest.mark.parametrize(
    ("kind", "options"),
    [("SPACE_TO_DEPTH", "SpaceToDepthOptions"), ("DEPTH_TO_SPACE", "DepthToSpaceOptions")],
)
def test_depth_and_space(kind, options):
    check(kind, [values((2, 4, 6, 8))], options={"blockSize": 2}, options_kind=options)


def test_space_to_batch_and_back():
    blocks = np.array([2, 3], np.int32)
    check(
        "SPACE_TO_BATCH_ND", [values((2, 3, 5, 2))], [blocks, np.array([[1, 0], [2, 2]], np.int32)]
    )
    check(
        "BATCH_TO_SPACE_ND", [values((12, 3, 2, 2))], [blocks, np.array([[1, 0], [0, 2]], np.int32)]
    )
    check(
        "SPACE_TO_BATCH_ND",
        [values((2, 6, 2))],
        [np.array([2], np.int32), np.array([[0, 0]], np.int32)],
    )


@pytest.mark.parametrize("kind", ["BILINEAR", "NEAREST_NEIGHBOR"])
@pytest.mark.parametrize("align", [{}, {"alignCorners": True}, {"halfPixelCenters": True}])
@pytest.mark.parametrize("size", [(8, 12), (3, 5), (7, 4), (1, 1)])
def test_resize(kind, align, size):
    options = "ResizeBilinearOptions" if kind == "BILINEAR" else "ResizeNearestNeighborOptions"
    check(f"RESIZE_{kind}", [values((2, 4, 6, 3))], [np.array(size, np.int32)], align, options,
          version=3)  # fmt: skip


def test_dynamic_update_slice_stays_inside():
    check("DYNAMIC_UPDATE_SLICE", [values((4, 5)), values((2, 3), 1)], [np.array([3, 1], np.int32)])


def test_unique():
    check("UNIQUE", [np.array([3, 1, 3, 2, 1], np.int32)], options={"idxOutType": 2},
          options_kind="UniqueOptions", outputs=("INT32", "INT32"))  # fmt: skip


@pytest.mark.parametrize(
    ("indices", "shape", "data"),
    [(np.array([1, 3], np.int32), [5], np.array([1.0, 2.0], F)),
     (np.array([[1, 2], [0, 1]], np.int32), [2, 3], np.array([1.0, 2.0], F)),
     (np.array([[1, 2], [0, 1]], np.int32), [2, 3], np.array(7.0, F))],
)  # fmt: skip
def test_sparse_to_dense(indices, shape, data):
    check("SPARSE_TO_DENSE", [data], [indices, np.array(shape, np.int32), np.array(-1.0, F)],
          options_kind="SparseToDenseOptions", order=(1, 2, 0, 3))  # fmt: skip


@pytest.mark.parametrize("version", [4, 5])
def test_non_max_suppression(version):
    rng = np.random.default_rng(3)
    corner = rng.uniform(0, 6, (12, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 4, (12, 2))], 1).astype(F)
    scores = rng.uniform(0, 1, 12).astype(F)
    constants = [np.array(6, np.int32), np.array(0.3, F), np.array(0.2, F)]
    outputs = ("INT32", "INT32")
    if version == 5:
        constants.append(np.array(0.0, F))
        outputs = ("INT32", "FLOAT32", "INT32")
    check(f"NON_MAX_SUPPRESSION_V{version}", [boxes, scores], constants,
          options_kind=f"NonMaxSuppressionV{version}Options", outputs=outputs)  # fmt: skip


def test_bitwise_xor():
    feeds = [values((8,), seed, 0, 99, np.int32) for seed in range(2)]
    check("BITWISE_XOR", feeds, outputs=("INT32",))


def test_table_names_exist_in_the_schema():
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    assert set(BUILTIN_OPS) <= set(vars(BuiltinOperator))


@pytest.mark.parametrize("batch", [1, 3])
def test_a_reshape_that_keeps_an_open_batch_has_no_shape_arithmetic_left(batch):
    """What converters write for Flatten, and for a Dense layer on more than two axes."""
    tiny = TinyModel()
    x = tiny.input((1, 4, 6), open_axes=[0])
    shape, first, wanted = (tiny.tensor(s, "INT32") for s in ((3,), (), (2,)))
    y = tiny.tensor((1, 24), open_axes=[0])
    tiny.op("SHAPE", [x], [shape], {"outType": 2}, options_kind="ShapeOptions")
    bounds = [tiny.constant(np.array([n], np.int32)) for n in (0, 1, 1)]
    tiny.op("STRIDED_SLICE", [shape, *bounds], [first], {"shrinkAxisMask": 1},
            options_kind="StridedSliceOptions")  # fmt: skip
    pack = {"valuesCount": 2, "axis": 0}
    size = tiny.constant(np.array(24, np.int32))
    tiny.op("PACK", [first, size], [wanted], pack, options_kind="PackOptions")
    tiny.op("RESHAPE", [x, wanted], [y])
    tiny.output(y)
    graph = import_subgraph(read_model(tiny.pack()), "m").graph
    assert [node.op_type for node in graph.graph] == ["Reshape"]
    assert_same(tiny.pack(), [values((batch, 4, 6))])
