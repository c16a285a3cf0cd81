"""Lowering the IR to a strongly typed ONNX for TensorRT, and to engines where one can be built."""
