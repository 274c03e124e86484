"""What the JAX backends share: the device, its compile cache, padding and tables; Adam as Keras does it.

A backend that needs it is a file in `backends`; no backend lives here.
"""
