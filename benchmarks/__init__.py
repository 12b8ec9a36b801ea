"""Benchmarks: what runs best on this machine, in milliseconds and in picture quality."""
