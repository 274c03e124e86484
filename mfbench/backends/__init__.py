"""The ways to train: one class a file, behind the protocol in `base`; `registry` finds them by name.

The only home of jax and optax. A backend knows no validation part, no clock, no search and no tracking.
"""
