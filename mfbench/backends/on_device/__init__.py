"""Code of the JAX backends: the device, the compile cache, padding and tables, Keras's Adam; `als` and `bmf` in JAX.

The backends themselves are files in `backends`.
"""
