"""A camera's blur: its point spread function (`psf`), how it looks (`kernels`), and how it is undone (`deconvolution`)."""
