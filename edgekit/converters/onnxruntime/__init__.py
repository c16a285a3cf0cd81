"""Lowering the IR to what ONNX Runtime runs best."""
