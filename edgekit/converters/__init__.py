"""From the IR to one artifact per target. Every target has the same skeleton.

`legal.py` is the table of what may be quantized, `converter.py` lowers and emits, and says for
each node that cannot be lowered, why.
"""
