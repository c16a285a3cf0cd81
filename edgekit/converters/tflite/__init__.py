"""Lowering the IR to a TFLite flatbuffer."""
