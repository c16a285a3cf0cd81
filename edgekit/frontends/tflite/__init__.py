"""Reads `.tflite` files into the IR, without TensorFlow."""
