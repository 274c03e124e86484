"""The same search twice: by `mfbench sweep`, and by a loop over Optuna, Surprise and MLflow as one would write it by hand.

    python benchmarks/plain_optuna.py [--trials 5] [--budget 100]

Both search K, alpha and beta of the same factorization over the same ranges, on the same split of planted-1m, with 40 epochs a
trial, valid scored and logged after each of them, the best epoch counted. The loop by hand runs so many `--trials`, and its
time for the whole budget is reckoned from their mean, which the table says; `--trials 100` measures it whole. A third line is
a smaller job: Surprise trains all epochs in one call and is scored once, so there is no curve and no best epoch. The time of
mfbench has its final run, its records and the drain of its export in it. Needs scikit-surprise, which mfbench itself does not
(`pip install scikit-surprise`, with a C compiler). Writes results/sweep-speed/.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sweep_overhead import SPACE, Setting, measured

from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.core.tables import markdown
from mfbench.data.splits import parts_of
from mfbench.matrix.ratings import Ratings
from mfbench.spec import load_spec
from mfbench.tracking.store import FIRM_SETTINGS

SETTING = Setting("speed", "planted-1m", 40, evaluate_train=False)


class Onward(np.random.RandomState):
    """What Surprise draws the start of its factors from; it is given those of the epoch before, since `fit` begins anew."""

    def __init__(self, *factors: np.ndarray):
        super().__init__(0)
        self._factors = list(factors)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        """P, then Q."""
        return self._factors.pop(0) if self._factors else super().normal(loc, scale, size)


def by_hand(train: Ratings, valid: Ratings, trials: int, each_epoch: bool) -> float:
    """Seconds of wall time that the loop by hand takes."""
    begun = time.perf_counter()
    import mlflow
    import optuna
    import pandas as pd
    from surprise import SVD, Dataset, Reader, accuracy

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment(f"by-hand-{each_epoch}")
    frame = pd.DataFrame({"user": train.users, "item": train.items, "rating": train.values})
    trainset = Dataset.load_from_df(frame, Reader(rating_scale=(0.5, 5.0))).build_full_trainset()
    testset = list(zip(valid.users.tolist(), valid.items.tolist(), valid.values.tolist(), strict=True))

    def objective(trial: Any) -> float:
        K = trial.suggest_int("K", *SPACE["K"]["int"], log=True)
        alpha = trial.suggest_float("alpha", *SPACE["alpha"]["float"], log=True)
        beta = trial.suggest_float("beta", *SPACE["beta"]["float"], log=True)
        best, step = float("inf"), 1 if each_epoch else SETTING.epochs
        factors: tuple[Any, ...] = ()
        with mlflow.start_run(run_name=f"trial {trial.number}"):
            mlflow.log_params({"K": K, "alpha": alpha, "beta": beta, "epochs": SETTING.epochs})
            for epoch in range(step, SETTING.epochs + 1, step):
                # Surprise's p += lr (e q - reg p) is ours with these.
                model = SVD(K, step, biased=False, lr_all=2 * alpha, reg_all=beta / 2, random_state=Onward(*factors))
                model.fit(trainset)
                factors = (model.pu, model.qi)
                predictions = model.test(testset)
                rmse = accuracy.rmse(predictions, verbose=False)
                mlflow.log_metric("valid_rmse", rmse, step=epoch)
                mlflow.log_metric("valid_mae", accuracy.mae(predictions, verbose=False), step=epoch)
                best = min(best, rmse)
        return best

    optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0)).optimize(objective, n_trials=trials)
    return time.perf_counter() - begun


def main() -> None:
    """Measure, print the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5, help="of the loop by hand")
    parser.add_argument("--budget", type=int, default=100)
    given = parser.parse_args()
    os.environ.update(FIRM_SETTINGS)
    results = RESULTS.resolve()
    with tempfile.TemporaryDirectory() as place:
        data = Path(place, "data")
        os.environ["MFBENCH_DATA"] = str(data)
        measured(SETTING, 1, data)  # so that data and compiled code are there
        ours = measured(SETTING, given.budget, data).wall
        parts = parts_of(load_spec(SETTING.spec(given.budget)))
        if parts.valid is None:
            raise SystemExit("the split has no valid part")
        os.chdir(place)
        same, less = (
            by_hand(parts.train, parts.valid, given.trials, each) * given.budget / given.trials for each in (True, False)
        )
    reckoned = "" if given.trials == given.budget else f" (reckoned from {given.trials} trials)"
    rows = [
        ("mfbench sweep, numba", ours),
        (f"Optuna + Surprise SVD + mlflow.log_*{reckoned}", same),
        (f"the same scored once a trial, no curves, no best epoch{reckoned}", less),
    ]
    header = [f"{given.budget} trials of {SETTING.epochs} epochs, {SETTING.dataset}", "wall s", "s a trial", "times mfbench's"]
    body = [[name, f"{s:.1f}", f"{s / given.budget:.3f}", f"{s / ours:.1f}"] for name, s in rows]
    table = markdown(header, body)
    print(table)
    write_whole(results / "sweep-speed" / "sweep-speed.md", table.encode())


if __name__ == "__main__":
    main()
