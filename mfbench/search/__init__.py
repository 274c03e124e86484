"""Hyperparameter search: studies, pruning, worker processes, the sweep, and the search audit.

What to try next, and which trial is best, is decided in `sampling`; Optuna is imported there only. The search is a pure
function of the spec and the records of finished batches.
"""
