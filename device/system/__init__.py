"""The machine that the kit runs on: hardware facts, terminal, journal, folders, files and addresses."""
