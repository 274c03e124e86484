"""Code shared by the JAX backends: the device, the compile cache, padding and tables, Keras's Adam; and the JAX forms of
`adam`, `als`, `bmf` and `mlp`.

The backends themselves are files in `backends`.
"""
