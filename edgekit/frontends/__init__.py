"""Readers of model files. A file is read, never executed."""
