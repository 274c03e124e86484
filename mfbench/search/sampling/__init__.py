"""What to try next: the samplers, and what they are told of finished trials.

A pure function of the spec and the records of finished batches; Optuna is imported here only.
"""
