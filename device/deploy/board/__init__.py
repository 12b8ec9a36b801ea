"""What happens on the board. These files are sent over ssh and run there by the system's Python, under sudo.

So they need the standard library only, of Python 3.11 on, and nothing of the kit but each other. `main.py` begins it; `MODULES`
has them in an order in which each finds what it imports.
"""

MODULES = ("paths", "channel", "receive", "environment", "activate", "main")
