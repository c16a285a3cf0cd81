"""Transformations of the IR, one a file, and the lists they run in."""
