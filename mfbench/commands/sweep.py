"""`sweep`: a search for each backend, the final runs, and their result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mfbench.data.files.frames import with_frames_kept
from mfbench.report.leaderboard import Row, rows
from mfbench.runs.scores import CURVES
from mfbench.search.outcome import Swept
from mfbench.search.sweep import Plan
from mfbench.search.workers import shares
from mfbench.spec import SpecSource, load_spec
from mfbench.tracking.export import watched

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class SweepResult:
    """The trials and finals of a sweep, and MLflow ids by run key.

    run_ids: of the sweep, its finals and floors; of its trials too, unless all of them had been exported before.
    """

    swept: Swept
    run_ids: dict[str, str]

    def __repr__(self) -> str:
        found = [f"{row.record.title} {row.order.title} {row.record.judged:.4f}" for row in self.leaderboard()[:1]]
        return f"<sweep {self.swept.study}: {len(self.swept.all_trials)} trials, {found[0] if found else 'no final run yet'}>"

    def to_frame(self) -> pd.DataFrame:
        """The trials, one row each: backend, number, outcome, hyperparameters, epochs and scores."""
        import pandas as pd

        names = ("backend", "number", "outcome", "epochs", "best_epoch", *CURVES)
        trials = self.swept.all_trials
        return pd.DataFrame(
            [{**{name: getattr(one, name) for name in names}, **one.evaluation, **one.hyper} for one in trials]
        )

    def leaderboard(self) -> list[Row]:
        """The final runs and floors, best first by the objective of the sweep."""
        return rows(self.swept.finals, self.swept.trials, self.run_ids)

    def summary(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        swept, sweep = self.swept, self.swept.spec.sweep
        return {
            "study": swept.study,
            "objective": swept.spec.objective,
            "trials": sweep.trials if sweep else 0,
            "finished": {backend: len(trials) for backend, trials in swept.trials.items()},
            "finals": [{**_shown(row), "evaluation": row.record.evaluation} for row in self.leaderboard()],
            "oracle": swept.oracle,
            "pareto": swept.front,
            "test_openings": len(swept.audit.openings) if swept.audit else 0,
            "audit": swept.audit.summary() if swept.audit else None,
        }


def _shown(row: Row) -> dict[str, Any]:
    """The fields of a final run, without those that are the same for all finals, or scores on its training data."""
    left_out = ("outcome", "trials", "search_seconds", "train_rmse", "train_mae")
    return {name: value for name, value in row.as_dict().items() if name not in left_out}


def sweep(
    spec: SpecSource,
    trials: int | None = None,
    workers: int = 1,
    changes: Iterable[str] = (),
    timeout: float | None = None,
    backends: Sequence[str] = (),
    cluster: str | None = None,
    data: Any = None,
) -> SweepResult:
    """Search each backend of a spec on the valid part, then train the best of each on train and valid, and open test once.

    If the sweep was interrupted, the same call resumes it: finished trials are not trained again.
    spec: a YAML file, a mapping or a Spec. trials: number per backend, instead of the spec's. workers: processes that train
    in parallel; the result does not depend on their number. changes: to the spec, e.g. `model.epochs=10`. timeout: seconds
    after which the sweep stops at the end of a batch, without final runs. backends: sweep only these of the spec's backends;
    the trials are shared with a sweep of all of them. cluster: train the trials on a Dask cluster, with the same result: the
    address of its scheduler, a YAML file that describes one to start (see `search.cluster.description`), or `local:2` for
    two processes here. data: the ratings, as in `mfbench.run`. InputError if an argument or the data is
    invalid, WorkError if no trial of any backend completed.

    >>> import mfbench
    >>> spec = {
    ...     "name": "example",
    ...     "data": {"planted": {"users": 60, "items": 80, "ratings": 2000}},  # generated ratings
    ...     "split": {"kind": "random", "valid": 0.1, "test": 0.1},
    ...     "model": {"epochs": 5, "center": True, "bias": True},
    ...     "sweep": {"trials": 3, "backends": ["loop", "mean"], "space": {"K": {"int": [2, 8]}, "alpha": 0.02}},
    ... }
    >>> result = mfbench.sweep(spec)
    >>> [row.record.title for row in result.leaderboard()]
    ['loop final', 'mean floor']
    >>> 2 <= result.leaderboard()[0].record.K <= 8
    True
    """
    changes = [*changes, *([f"sweep.trials={trials}"] if trials is not None else [])]
    checked = load_spec(*with_frames_kept(spec, changes, data)).only(backends)
    return run_sweep(Plan.of(checked), workers, timeout, cluster)


def run_sweep(plan: Plan, workers: int = 1, timeout: float | None = None, cluster: str | None = None) -> SweepResult:
    """Run or resume the sweep of a plan with a progress bar, and export it to MLflow; the arguments as in `sweep`."""
    shares(workers)  # too many are refused before the data is prepared
    with watched(plan.spec.name) as (watcher, export):
        try:
            swept = plan.execute(workers, watcher, timeout, cluster)
        except BaseException as error:
            export.stop_sweep("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        if swept.stopped:
            export.stop_sweep()
        else:
            export.close_sweep(swept)
    return SweepResult(swept, dict(export.run_ids))
