import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters.tflite.graph import Graph, Operator, Quantization, Tensor
from edgekit.converters.tflite.releases import min_runtime_version
from edgekit.converters.tflite.versions import operator_version
from edgekit.testing.data import shared
from edgekit.testing.tflite import operators


def tensor(dtype, shape=(1, 4, 4, 2), scale=None):
    quantization = None if scale is None else Quantization(np.float32([scale]), np.int64([0]))
    return Tensor("t", dtype, shape, None, quantization)


def version(builtin, *inputs, output=None, options=None):
    return operator_version(Operator(builtin, list(inputs), [output or inputs[0]], options))


@pytest.mark.parametrize(
    ("builtin", "dtypes", "expected"),
    [
        ("CONV_2D", ("float32", "float32", "float32"), 1),
        ("CONV_2D", ("float32", "int8", "float32"), 2),
        ("CONV_2D", ("int8", "int8", "int32"), 3),
        ("FULLY_CONNECTED", ("int8", "int8", "int32"), 4),
        ("FULLY_CONNECTED", ("float32", "float32"), 6),
        ("SOFTMAX", ("int8",), 2),
        ("ADD", ("int64", "int64"), 4),
        ("SPLIT", ("int32", "int8"), 2),
        ("DEQUANTIZE", ("float16",), 3),
        ("BROADCAST_TO", ("float32", "int32"), 2),
        ("NO_SUCH_OPERATOR", ("float32",), 1),
    ],
)
def test_types_decide(builtin, dtypes, expected):
    assert version(builtin, *(tensor(dtype) for dtype in dtypes)) == expected


def test_options_decide():
    image = tensor("float32")
    centres = schema.ResizeBilinearOptionsT(halfPixelCenters=True)
    assert version("RESIZE_BILINEAR", image, options=centres) == 3
    dilated = schema.DepthwiseConv2DOptionsT(dilationHFactor=2, dilationWFactor=1)
    assert version("DEPTHWISE_CONV_2D", image, image, image, options=dilated) == 2


def test_a_grouped_convolution_needs_version_6():
    assert version("CONV_2D", tensor("float32", (1, 4, 4, 8)), tensor("float32", (8, 3, 3, 2))) == 6


def test_int8_products_that_scale_up_need_version_3():
    a, b = tensor("int8", scale=2.0), tensor("int8", scale=1.0)
    assert version("MUL", a, b, output=tensor("int8", scale=4.0)) == 2
    assert version("MUL", a, b, output=tensor("int8", scale=1.0)) == 3


def test_the_newest_operator_decides_the_release():
    image = tensor("float32")
    graph = Graph("g", operators=[Operator("CONV_2D", [image, image, image], [image])])
    assert min_runtime_version(graph) == "1.5.0"
    graph.operators.append(Operator("GELU", [image], [image]))
    assert min_runtime_version(graph) == "2.9.0"
    graph.operators.append(Operator("ATAN2", [image, image], [image]))
    assert min_runtime_version(graph) == "2.10.0"


@pytest.mark.parametrize(
    "name",
    [
        "mlperf_tiny/resnet8_int8.tflite",
        "mlperf_tiny/ds_cnn_float.tflite",
        "models/kwt1_transformer.tflite",
    ],
)
def test_versions_are_never_above_those_of_official_files(name):
    content = shared(name).read_bytes()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for builtin, given, operator in zip(
        operators(content), _versions(model), _operators(model), strict=True
    ):
        operator.builtin = builtin
        assert operator_version(operator) <= given, builtin


def _versions(model):
    return [model.operatorCodes[op.opcodeIndex].version for op in model.subgraphs[0].operators]


def _operators(model):
    names = {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
    tensors = [
        Tensor("t", names[t.type], tuple(t.shape) if t.shape is not None else (), None, _scale(t))
        for t in model.subgraphs[0].tensors
    ]
    return [
        Operator(
            "",
            [tensors[i] if i >= 0 else None for i in op.inputs],
            [tensors[i] for i in op.outputs],
            op.builtinOptions,
        )
        for op in model.subgraphs[0].operators
    ]


def _scale(t):
    q = t.quantization
    if q is None or q.scale is None:
        return None
    return Quantization(np.asarray(q.scale), np.asarray(q.zeroPoint), q.quantizedDimension)
