"""deblurkit deploy: the kit on a board over ssh, in one step that either holds or is undone.

`cli.py` has the order of things, `look.py` what a board must have, `ssh.py` the connection, `payload.py`, `wheels.py` and
`signature.py` what travels, and `board.py` all that happens at the other end.
"""
