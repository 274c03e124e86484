"""From the command to a tested model: `mfbench sweep`, and searches written by hand around Optuna with LIBMF or Surprise.

    python benchmarks/time_to_answer.py MF_TRAIN [--data planted-1m ml-latest-small] [--trials 60] [--rounds 2] [--epochs 200]

MF_TRAIN is the program `mf-train`, built from LIBMF's own source, with `mf-predict` beside it. All search K, the step and the
penalty over the same ranges, each in its own terms, on the same cells with all cores: LIBMF's lambda is beta / 2, its eta is
the adagrad rate; Surprise's reg is beta / 2 and its lr 2 alpha. The searches by hand train a number of passes that is usual
for each (LIBMF prints the valid RMSE of each pass, and the best pass counts; Surprise is scored once), then train on train and
valid with what was best, and score test. Rounds are interleaved. Without scikit-surprise its line is left out.
Writes `results/time-to-answer/`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import yaml

from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.core.tables import markdown
from mfbench.data.sealed import open_test
from mfbench.data.splits import Parts, parts_of
from mfbench.matrix.metrics import rmse_and_mae
from mfbench.matrix.ratings import Ratings
from mfbench.spec import load_spec
from mfbench.tracking.store import FIRM_SETTINGS

K, ALPHA, BETA, ETA = (4, 64), (0.0005, 0.05), (0.001, 0.5), (0.01, 0.3)
PASSES = {"LIBMF": 60, "Surprise": 20}


@dataclass(frozen=True)
class Cells:
    """The parts of a split, and the files of lines `user item rating` that LIBMF reads; `both` is train and valid."""

    train: Ratings
    valid: Ratings
    test: Ratings
    folder: Path

    @staticmethod
    def of(parts: Parts, folder: Path) -> Cells:
        assert parts.valid is not None
        test = open_test(parts, "time-to-answer", "to score the searches by hand")
        cells = Cells(parts.train, parts.valid, test, folder)
        for name, ratings in {"train": cells.train, "valid": cells.valid, "test": test, "both": cells.both}.items():
            columns = zip(ratings.users.tolist(), ratings.items.tolist(), ratings.values.tolist(), strict=True)
            (folder / name).write_text("".join(f"{u} {i} {r}\n" for u, i, r in columns))
        return cells

    @property
    def both(self) -> Ratings:
        a, b = self.train, self.valid
        users, items, values = (np.concatenate([getattr(a, name), getattr(b, name)]) for name in ("users", "items", "values"))
        return Ratings(users, items, values, a.n_users, a.n_items)


def spec_of(data: str, trials: int, epochs: int) -> dict[str, Any]:
    """Our search: the defaults, with the ranges that all searches have."""
    space = {name: {kind: list(ends), "log": True} for name, kind, ends in (
        ("K", "int", K), ("alpha", "float", ALPHA), ("beta", "float", BETA))}  # fmt: skip
    return {
        "name": "answer",
        "data": {"dataset": data},
        "split": {"kind": "random", "valid": 0.1, "test": 0.1, "seed": 7},
        "model": {"epochs": epochs, "center": True, "bias": True, "evaluate_train": False},
        "evaluation": {"k": []},
        "sweep": {"trials": trials, "backends": ["numba"], "space": space},
    }


def ours(spec: dict[str, Any], data_home: Path) -> tuple[float, float]:
    """The test RMSE of `mfbench sweep`, and its seconds from the command to its end, with tracking."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "spec.yaml").write_text(yaml.safe_dump(spec))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "mfbench", "sweep", "spec.yaml", "--json"], cwd=folder, check=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**kept, **FIRM_SETTINGS, "MFBENCH_DATA": str(data_home)},
        )  # fmt: skip
        seconds = time.perf_counter() - begun
    return float(json.loads(done.stdout.splitlines()[-1])["finals"][0]["test_rmse"]), seconds


def by_hand(trials: int, train: Callable[[Any], tuple[float, Any]], test: Callable[[Any], float]) -> tuple[float, float]:
    """The test RMSE of an Optuna search, and its seconds. train: a trial's valid RMSE, and what to train it again with."""
    begun = time.perf_counter()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: Any) -> float:
        value, again = train(trial)
        trial.set_user_attr("again", again)
        return value

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=trials)
    return test(study.best_trial.user_attrs["again"]), time.perf_counter() - begun


def libmf(program: str, cells: Cells, trials: int) -> tuple[float, float]:
    """A search around the program `mf-train`, on all cores."""
    threads = str(os.cpu_count())

    def run(train: str, again: dict[str, Any], passes: int, *more: str) -> str:
        words = ["-f", "0", "-k", again["K"], "-r", again["eta"], "-l2", again["penalty"], "-t", passes, "-s", threads, *more]
        files = [cells.folder / train, cells.folder / "model"]
        return subprocess.run([program, *map(str, [*words, *files])], capture_output=True, text=True, check=True).stdout

    def trial(trial: Any) -> tuple[float, Any]:
        again: dict[str, Any] = {
            "K": trial.suggest_int("K", *K, log=True), "eta": trial.suggest_float("eta", *ETA, log=True),
            "penalty": trial.suggest_float("penalty", BETA[0] / 2, BETA[1] / 2, log=True),
        }  # fmt: skip
        printed = run("train", again, PASSES["LIBMF"], "-p", str(cells.folder / "valid"))
        curve = [float(line.split()[2]) for line in re.findall(r"^ +\d.*$", printed, re.M)]
        again["passes"] = int(np.argmin(curve)) + 1
        return min(curve), again

    def test(again: dict[str, Any]) -> float:
        run("both", again, again["passes"])
        out = cells.folder / "predicted"
        predict = Path(program).with_name("mf-predict")
        subprocess.run([predict, cells.folder / "test", cells.folder / "model", out], capture_output=True, check=True)
        return rmse_and_mae(cells.test.values, np.loadtxt(out))[0]

    return by_hand(trials, trial, test)


def surprise(cells: Cells, trials: int) -> tuple[float, float]:
    """A search around Surprise's SVD, with biases, as its documentation has it."""
    import pandas as pd
    from surprise import SVD, Dataset, Reader, accuracy

    def frame(ratings: Ratings) -> Any:
        columns = pd.DataFrame({"user": ratings.users, "item": ratings.items, "rating": ratings.values})
        return Dataset.load_from_df(columns, Reader(rating_scale=(0.5, 5.0))).build_full_trainset()

    def scored(model: Any, ratings: Ratings) -> float:
        pairs = list(zip(ratings.users.tolist(), ratings.items.tolist(), ratings.values.tolist(), strict=True))
        return float(accuracy.rmse(model.test(pairs), verbose=False))

    train = frame(cells.train)

    def trial(trial: Any) -> tuple[float, Any]:
        again = {
            "n_factors": trial.suggest_int("K", *K, log=True),
            "lr_all": trial.suggest_float("lr", 2 * ALPHA[0], 2 * ALPHA[1], log=True),
            "reg_all": trial.suggest_float("reg", BETA[0] / 2, BETA[1] / 2, log=True),
            "n_epochs": PASSES["Surprise"], "random_state": 0,
        }  # fmt: skip
        value = scored(SVD(**again).fit(train), cells.valid)
        return (value if np.isfinite(value) else 1e9), again

    return by_hand(trials, trial, lambda again: scored(SVD(**again).fit(frame(cells.both)), cells.test))


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mf_train", type=lambda text: str(Path(text).resolve()))
    parser.add_argument("--data", nargs="+", default=["planted-1m", "ml-latest-small"])
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=200, help="ceiling of ours; its trials stop by themselves")
    given = parser.parse_args()
    body, results = [], RESULTS.resolve()
    with tempfile.TemporaryDirectory() as place:
        os.environ["MFBENCH_DATA"] = place
        os.chdir(place)
        for data in given.data:
            spec = spec_of(data, given.trials, given.epochs)
            ours(spec_of(data, 1, 1), Path(place))  # so that data and compiled code are there
            folder = Path(place, f"text-{data}")
            folder.mkdir()
            cells = Cells.of(parts_of(load_spec(spec)), folder)
            searches: dict[str, Callable[[], tuple[float, float]]] = {
                "mfbench sweep, numba": lambda spec=spec: ours(spec, Path(place)),  # type: ignore[misc]
                "Optuna + LIBMF": lambda cells=cells: libmf(given.mf_train, cells, given.trials),  # type: ignore[misc]
            }
            if find_spec("surprise"):
                searches["Optuna + Surprise SVD"] = lambda cells=cells: surprise(cells, given.trials)  # type: ignore[misc]
            rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in searches}
            for _ in range(given.rounds):
                for name, search in searches.items():
                    rounds[name].append(search())
                    print(f"{data}, {name}: test RMSE %.4f in %.1f s" % rounds[name][-1], flush=True)
            first = median(seconds for _, seconds in next(iter(rounds.values())))
            for name, found in rounds.items():
                tested, seconds = (median(column) for column in zip(*found, strict=True))
                ends = f"{min(s for _, s in found):.1f} to {max(s for _, s in found):.1f}"
                body.append([data, name, f"{tested:.4f}", f"{seconds:.1f} ({ends})", f"{seconds / first:.2f}"])
    header = ["data", f"search of {given.trials} trials", "test RMSE", "s (of all rounds)", "times ours"]
    text = f"{__doc__.split(chr(10))[0]}\n\n{markdown(header, body)}"
    print(text)
    write_whole(results / "time-to-answer" / "time-to-answer.md", text.encode())


if __name__ == "__main__":
    main()
