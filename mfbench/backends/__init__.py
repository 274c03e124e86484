"""The training algorithms: one class per file, behind the protocol in `base`; `registry` finds them by name.

The only room that imports jax and optax. A backend knows nothing of validation parts, clocks, search and tracking.
"""
