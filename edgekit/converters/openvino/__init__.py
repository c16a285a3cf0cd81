"""Lowering the IR to OpenVINO IR."""
