"""How good is what a search finds, against epochs and seconds? For each sampler, batch size and rule of stopping.

    python benchmarks/search_quality.py [--data planted-10k planted-100k planted-1m ml-latest-small] [--only NAME ...]
                                        [--seeds 5] [--trials 60] [--workers 2]

Each search is a sweep of `numba` on one thread with the default ranges; a seed is another split and another search. Only one
thing differs from the default, `tpe` in batches of 8 with `patience`, in each of the others. planted-1m, where a search takes
minutes, has only the rules of stopping. The records are kept under `runs/`, so the same command goes on where it was stopped.
Seconds are those of a machine shared with other work. Writes `results/search-quality/`: a line a search, a table of
medians and quartiles over the seeds, and the best valid RMSE so far against the epochs trained.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.core.tables import markdown
from mfbench.report import style
from mfbench.search.outcome import Swept
from mfbench.search.progress_bar import ProgressBar
from mfbench.search.sampling.finished import best_of
from mfbench.search.sweep import Plan
from mfbench.spec import load_spec

DEFAULT = "default: tpe, batch 8, patience"
WAYS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "no stopping": {"pruner": "none"},
    "median": {"pruner": "median"},
    "hyperband": {"pruner": "hyperband"},
    "random": {"sampler": "random"},
    "cmaes": {"sampler": "cmaes"},
    "gp": {"sampler": "gp"},
    "batch 1": {"batch": 1},
    "batch 30": {"batch": 30},
}
LARGE = {"planted-1m": (DEFAULT, "no stopping", "median")}
HERE = RESULTS / "search-quality"


@dataclass(frozen=True)
class Search:
    """One search: its best valid RMSE, the test RMSE of its final run, and what it cost.

    best: [trials], the best valid RMSE after each trial. cost: [trials], the epochs trained until then.
    """

    data: str
    way: str
    seed: int
    trials: int
    valid_rmse: float
    test_rmse: float
    epochs: int
    seconds: float
    best: list[float]
    cost: list[int]

    @staticmethod
    def of(data: str, way: str, seed: int, swept: Swept) -> Search:
        (trials,), (final,) = swept.trials.values(), swept.finals
        assert final.valid_rmse is not None
        assert final.test_rmse is not None
        best = [best_of(trials[: n + 1]) for n in range(len(trials))]
        return Search(
            data, way, seed, len(trials), final.valid_rmse, final.test_rmse,
            sum(trial.epochs for trial in trials), sum(trial.clocks.search_seconds for trial in trials),
            [np.inf if one is None or one.valid_rmse is None else one.valid_rmse for one in best],
            np.cumsum([trial.epochs for trial in trials]).tolist(),
        )  # fmt: skip


def spec_of(data: str, way: str, seed: int, trials: int) -> dict[str, Any]:
    """The spec of one search, which leaves all that it can to the defaults."""
    return {
        "name": "quality",
        "data": {"dataset": data},
        "split": {"kind": "random", "valid": 0.1, "test": 0.1, "seed": seed},
        "model": {"backend": "numba", "epochs": 200, "center": True, "bias": True, "seed": seed,
                  "evaluate_train": False, "options": {"numba": {"threads": 1}}},
        "evaluation": {"k": []},
        "sweep": {"trials": trials, "backends": ["numba"], **WAYS[way]},
    }  # fmt: skip


def table(searches: Sequence[Search]) -> str:
    """Medians and quartiles over the seeds, and beside them how much is lost and saved against no stopping."""
    header = ["data", "search", "valid RMSE", "test RMSE", "epochs", "s", "above no stopping", "epochs of it"]
    body = []
    for data in dict.fromkeys(one.data for one in searches):
        whole = {one.seed: one for one in searches if (one.data, one.way) == (data, "no stopping")}
        for way in WAYS:
            mine = [one for one in searches if (one.data, one.way) == (data, way)]
            paired = [(one, whole[one.seed]) for one in mine if one.seed in whole]
            if mine:
                above = _middle([one.valid_rmse - other.valid_rmse for one, other in paired], "+.4f")
                share = _middle([one.epochs / other.epochs for one, other in paired], ".0%")
                body.append([
                    data, way,
                    _middle([one.valid_rmse for one in mine], ".4f"), _middle([one.test_rmse for one in mine], ".4f"),
                    _middle([one.epochs for one in mine], ",.0f"), _middle([one.seconds for one in mine], ".1f"), above, share,
                ])  # fmt: skip
    return markdown(header, body)


def _middle(values: Sequence[float], form: str) -> str:
    if not values:
        return "–"
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def picture(searches: Sequence[Search]) -> bytes:
    """A panel a data set: the median over the seeds of the best valid RMSE so far, against the epochs trained."""
    names = list(dict.fromkeys(one.data for one in searches))
    rows = -(-len(names) // 2)
    figure = Figure(figsize=(11, 4 * rows), layout="constrained")
    panels = dict(zip(names, figure.subplots(rows, 2, squeeze=False).flat, strict=False))
    colours = dict(zip(WAYS, [*style.COLOURS, style.GREY, "#999933"], strict=False))
    for data, axes in panels.items():
        here = [one for one in searches if one.data == data]
        budget = np.geomspace(20, max(one.cost[-1] for one in here), 200)
        ends = []
        for way in dict.fromkeys(one.way for one in here):
            so_far = np.array([_at(one, budget) for one in here if one.way == way])
            known = np.isfinite(so_far).all(axis=0)
            low, middle, high = np.quantile(so_far[:, known], [0.25, 0.5, 0.75], axis=0)
            axes.plot(budget[known], middle, color=colours[way], linewidth=2.2 if way == DEFAULT else 1.2, label=way)
            if way in (DEFAULT, "no stopping"):
                axes.fill_between(budget[known], low, high, color=colours[way], alpha=0.12, linewidth=0)
            ends += [*middle]
        axes.set_title(data)
        axes.set_xlabel("epochs trained")
        style.log_ticks(axes, "x", budget.tolist())
        style.plain(axes)
        low = min(ends)
        axes.set_ylim(low - 0.001, low + 0.025)
    first = next(iter(panels.values()))
    first.set_ylabel("best valid RMSE so far")
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=9, frameon=False)
    return style.save(figure)


def _at(search: Search, budget: Iterable[float]) -> list[float]:
    place = np.searchsorted(search.cost, list(budget), side="right") - 1
    return [search.best[k] if k >= 0 else np.inf for k in place]


def main() -> None:
    """Search, and write the results after each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["planted-10k", "planted-100k", "planted-1m", "ml-latest-small"])
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=[way for way in WAYS if way != "gp"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    searches: list[Search] = []
    for data in given.data:
        for seed in range(given.seeds):
            for way in [way for way in given.only if way in LARGE.get(data, given.only)]:
                spec = load_spec(spec_of(data, way, seed, given.trials))
                with ProgressBar() as bar:
                    searches.append(Search.of(data, way, seed, Plan.of(spec).execute(given.workers, bar)))
                one = searches[-1]
                print(f"{data} seed {seed} {way}: {one.valid_rmse:.4f} valid, {one.epochs:,} epochs", flush=True)
        write(searches)


def write(searches: Sequence[Search]) -> None:
    """The files in `results/search-quality/`."""
    names = [one.name for one in fields(Search)][:-2]
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(names)
    lines.writerows([[asdict(one)[name] for name in names] for one in searches])
    write_whole(HERE / "searches.csv", text.getvalue().encode())
    n = len({one.seed for one in searches})
    caption = f"Median (and quartiles) over {n} seeds; differences and shares are of pairs with the same seed."
    write_whole(HERE / "search-quality.md", f"{caption}\n\n{table(searches)}".encode())
    write_whole(HERE / "search-quality.png", picture(searches))


if __name__ == "__main__":
    main()
