"""Evaluating stored models again, by other metrics: the command, and the files that it leaves beside records."""
