"""Hyperparameter search: pruning, worker processes, the choice of the best trial, and the search audit.

What to try next is decided in `sampling`, and Optuna is used there only. The search is a pure function of the spec and the
records of finished batches.
"""
