"""deblurkit deploy: bring the kit to a board over ssh, in one step that either succeeds or is undone.

`cli.py` has the order of the steps, `preflight.py` what a board must have, `ssh.py` the connection, `payload.py`, `wheels.py` and
`signature.py` what is sent, and `board/` everything that happens on the board.
"""
