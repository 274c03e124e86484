"""Many runs: what a sweep proposes, prunes, trains in its workers, chooses, and says about itself (`audit`).

The only home of Optuna. The search is a pure function of the spec and the records of finished batches.
"""
