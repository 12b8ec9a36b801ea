"""Somebody else's network: looked over before anything of it is run or unpacked, then wrapped for the same gates.

A model file can carry code. So a .keras or SavedModel is read as data first, and refused unless all it names is on a list
of what networks that make a picture of a picture are built from. ONNX and TFLite files hold no code but operators; those
from outside the standard are refused, since the runtimes of the boards do not have them (ONNX Runtime's own too).
"""
