"""One picture in, one restored picture out, without threads: start with `restorer`."""
