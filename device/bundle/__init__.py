"""The bundle: a folder with `manifest.json` and the converted models; everything that a board needs, but no code."""
