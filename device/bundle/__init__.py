"""The bundle: a folder with `manifest.json` and the converted models; everything a board needs, and no code."""
