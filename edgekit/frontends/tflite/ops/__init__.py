"""How each TFLite operator reads in ONNX: one topic a file, each with a literal table."""
