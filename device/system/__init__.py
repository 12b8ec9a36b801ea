"""The machine it runs on: the board, the terminal, the journal, folders and files."""
