"""Somebody else's network: inspected before anything of it is run or unpacked, then wrapped so that it passes the same gate.

A model file can carry code. So a .keras file or a SavedModel is first read as data, and refused unless everything it names is
on a list of what networks from picture to picture are built of. ONNX and TFLite files hold operators and no code; operators
outside the standard are refused, because the boards' runtimes do not have them (ONNX Runtime's own ones too).

Start at `open_foreign.py`; `declared.py` and `interface.py` are the contract of the others.
"""
