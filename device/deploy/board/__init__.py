"""The part of `deblurkit deploy` that runs on the board.

These files are sent over ssh and run by the system's Python, under sudo. So they use only the standard library of Python 3.11 and
later, and of the kit only each other. `main.py` is the entry point. `MODULES` lists them in an order in which each one finds its
imports.
"""

MODULES = ("paths", "channel", "receive", "environment", "activate", "main")
