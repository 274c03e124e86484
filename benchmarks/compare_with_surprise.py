"""Surprise's SVD beside the finals of a sweep, on the very same split: trained on train and valid, scored on test.

    python benchmarks/compare_with_surprise.py [SPEC]       # by default experiments/movielens-small.yaml, swept before

Surprise is no part of mfbench; `pip install scikit-surprise` (1.1.5 or later) needs a C compiler. Writes surprise.md and
surprise.csv to results/<experiment>/.
"""

from __future__ import annotations

import csv
import io
import sys
import time
from typing import Any

import numpy as np
import pandas as pd

from mfbench.commands.compare import compared
from mfbench.core import tables
from mfbench.core.errors import MfbenchError
from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.data.sealed import open_test
from mfbench.data.splits import parts_of
from mfbench.matrix.metrics import rmse_and_mae
from mfbench.matrix.ratings import Ratings
from mfbench.spec import load_spec, study_key

try:
    from surprise import SVD, Dataset, Reader
except ImportError:
    sys.exit("Surprise is not installed here; `pip install scikit-surprise` needs a C compiler")

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "tuned": {"n_factors": 100, "n_epochs": 50, "lr_all": 0.007, "reg_all": 0.1},
}
SEEDS = (0, 1, 2, 3, 4)


def main(path: str) -> None:
    """Score Surprise and print the table; the finals are there already, so the test part has been opened by right."""
    spec = load_spec(path)
    ours = [record for record in compared([path]).records if record.test_rmse is not None]
    if not ours:
        sys.exit(f"{path}: there is no final run yet; make them with `mfbench sweep {path}`")
    parts = parts_of(spec)
    test = open_test(parts, study_key(spec), "to score Surprise's SVD beside the finals")
    train = parts.train if parts.valid is None else parts.train.with_(parts.valid)

    lines: list[list[Any]] = [
        [f"mfbench {one.backend}", one.test_rmse, "", one.test_mae, one.clocks.train_seconds] for one in ours
    ]
    for name, setting in SETTINGS.items():
        rmse, mae, seconds = np.transpose([scored(train, test, seed, setting) for seed in SEEDS])
        shown = ", ".join(f"{key}={value}" for key, value in setting.items())
        label = f"Surprise SVD, {name}" + (f" ({shown})" if shown else "")
        lines.append([label, rmse.mean(), f"{rmse.min():.4f} to {rmse.max():.4f}", mae.mean(), seconds.mean()])

    body = [[name, f"{rmse:.4f}", spread or "–", f"{mae:.4f}", f"{s:.2f}"] for name, rmse, spread, mae, s in lines]
    table = tables.markdown(["model", "test RMSE", f"over {len(SEEDS)} seeds", "test MAE", "train s"], body)
    gap = lines[len(ours)][1] - lines[0][1]
    verdict = f"{lines[0][0]}, the best by valid, is {abs(gap):.4f} {'under' if gap > 0 else 'over'} Surprise's defaults.\n"
    print(table + "\n" + verdict, end="")
    write_whole(RESULTS / spec.name / "surprise.md", f"{table}\n{about(parts.name)}{verdict}".encode())
    write_whole(RESULTS / spec.name / "surprise.csv", as_csv(lines).encode())


def scored(train: Ratings, test: Ratings, seed: int, setting: dict[str, Any]) -> tuple[float, float, float]:
    """RMSE and MAE on test, clipped to the rating scale as Surprise does it, and the seconds that the training took."""
    frame = pd.DataFrame({"user": train.users, "item": train.items, "rating": train.values})
    scale = float(train.values.min()), float(train.values.max())
    trainset = Dataset.load_from_df(frame, Reader(rating_scale=scale)).build_full_trainset()
    begun = time.perf_counter()
    model = SVD(random_state=seed, **setting).fit(trainset)
    seconds = time.perf_counter() - begun
    pairs = zip(test.users.tolist(), test.items.tolist(), strict=True)
    predicted = np.array([model.predict(user, item).est for user, item in pairs])
    return *rmse_and_mae(test.values, predicted), seconds


def about(data: str) -> str:
    """What the numbers are."""
    return (
        f"{data}; everyone is trained on train and valid and scored on the same test part; Surprise's numbers are means over "
        f"{len(SEEDS)} seeds.\nSurprise clips its predictions to the rating scale, mfbench does not.\n"
    )


def as_csv(lines: list[list[Any]]) -> str:
    """The table as CSV, without the clock and to the last digit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "test_rmse", "test_mae"])
    writer.writerows([name, rmse, mae] for name, rmse, _, mae, _ in lines)
    return text.getvalue()


if __name__ == "__main__":
    try:
        main(*(sys.argv[1:2] or ["experiments/movielens-small.yaml"]))
    except MfbenchError as error:
        sys.exit(str(error))
