"""Hyperparameter search: proposals, pruning, worker processes, the choice of the best trial, and the search audit.

Optuna is used in this package only. The search is a pure function of the spec and the records of finished batches.
"""
