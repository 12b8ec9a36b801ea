"""A trained run in, a bundle of proven files out."""
