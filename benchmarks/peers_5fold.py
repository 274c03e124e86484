"""Ours and the peers on MovieLens latest-small, each with the best of its 40 trials, on one split and on five folds.

    mfbench sweep experiments/peers-movielens.yaml --workers 2
    python benchmarks/peers_5fold.py

The sweep has the 80/10/10 split: its final runs are trained on train and valid, and tested. Here the same hyperparameters are
trained for as many epochs on each of five folds of all ratings. The search has seen ratings of every fold, alike for all
backends, so the folds show how far the order depends on the split; the test part is the clean comparison. Writes 5-fold.md
and 5-fold.csv to results/peers-movielens/.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

import mfbench
from mfbench.backends.registry import PEERS
from mfbench.commands.run import RunResult
from mfbench.core import tables
from mfbench.core.errors import MfbenchError
from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.runs.record_files import find_record
from mfbench.runs.records import Record, RunName
from mfbench.runs.repeats import interval
from mfbench.spec import Spec, run_study_key
from mfbench.spec.split import KFoldSplit

PATH = "experiments/peers-movielens.yaml"
FOLDS = 5
HEADER = ["backend", "", "K", "epochs", "test RMSE, 80/10/10", "RMSE, 5 folds", "above the first, 5 folds"]


def on_folds(final: Record) -> RunResult:
    """Runs on five folds with the hyperparameters and the epochs of a final run; made before, or now."""
    model = final.spec.model.with_hyper(final.backend, final.hyper)
    spec = Spec(
        name="peers-movielens-5fold", data=final.spec.data, split=KFoldSplit(kind="kfold", folds=FOLDS, seed=7),
        model=model.model_copy(update={"backend": final.backend, "epochs": final.epochs, "patience": None}),
    )  # fmt: skip
    names = [RunName(study=run_study_key(spec), backend=final.backend, number=0, stage="run", repeat=k) for k in range(FOLDS)]
    made = [record for name in names if (record := find_record(name)) and record.outcome == "completed"]
    return RunResult(made, {}) if len(made) == FOLDS else mfbench.run(spec)


def main() -> None:
    """Train, print the table and write it."""
    (board,) = mfbench.compare(PATH)
    found = [(final, np.array([one.valid_rmse for one in on_folds(final).records])) for final in board.records]
    found.sort(key=lambda pair: float(pair[1].mean()))
    first = found[0][1]
    lines = [
        {"backend": final.backend, "test_rmse": final.test_rmse, **{f"fold_{k}": rmse for k, rmse in enumerate(folds)}}
        for final, folds in found
    ]
    text = tables.markdown(HEADER, [row(final, folds, first) for final, folds in found]) + "\n" + where_not(found)
    print(text, end="")
    folder = RESULTS / board.records[0].spec.name
    write_whole(folder / "5-fold.md", text.encode())
    write_whole(folder / "5-fold.csv", tables.as_csv(list(lines[0]), lines).encode())


def row(final: Record, folds: np.ndarray, first: np.ndarray) -> list[str]:
    """A line of the table. The differences are taken fold by fold, so that what the folds have in common is out of them."""
    gap = "–" if folds is first else shown(folds - first)
    kind = "peer" if final.backend in PEERS else "ours"
    return [final.backend, kind, str(final.K or "–"), str(final.epochs), f"{final.test_rmse:.4f}", shown(folds), gap]


def shown(values: np.ndarray) -> str:
    """Mean and 95 % interval over the folds."""
    return f"{values.mean():.4f} ± {interval(values.tolist()).half_width:.4f}"


def where_not(found: Sequence[tuple[Record, np.ndarray]]) -> str:
    """Whether the best of ours is below each peer, on the test part and on the folds."""
    said = []
    for name, error in (("80/10/10", lambda pair: pair[0].test_rmse), (f"{FOLDS} folds", lambda pair: pair[1].mean())):
        ours = min((pair for pair in found if pair[0].backend not in PEERS), key=error)
        below = [pair[0].backend for pair in found if pair[0].backend in PEERS and error(pair) < error(ours)]
        verdict = f"lower: {', '.join(below)}" if below else "below every peer"
        said.append(f"- {name}: the best of ours is {ours[0].backend}, {error(ours):.4f}; {verdict}\n")
    return "".join(said)


if __name__ == "__main__":
    try:
        main()
    except MfbenchError as error:
        sys.exit(str(error))
