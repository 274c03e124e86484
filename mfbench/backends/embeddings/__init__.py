"""Code shared by `adam` and `mlp`: their knobs, Adam over the rows of a table in compiled code, and the network.

Nothing here imports jax; their JAX forms, for accelerators, are in `on_device`.
"""
