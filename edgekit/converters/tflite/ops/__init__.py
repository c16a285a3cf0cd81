"""Lowerings of ONNX operators, one topic a file; `table.py` above lists them."""
