"""Code shared by the JAX backends: the device, the compile cache, padding and tables, Keras's Adam, ALS in JAX.

The backends themselves are files in `backends`.
"""
