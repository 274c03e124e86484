"""A sweep, as it is asked for and answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mfbench.report.leaderboard import Row, rows
from mfbench.search.outcome import Swept
from mfbench.search.sweep import Plan
from mfbench.spec import SpecSource, load_spec
from mfbench.tracking.export import watched


@dataclass(frozen=True)
class SweepResult:
    """A sweep: its trials and finals, and the ids of its runs in MLflow by run key."""

    swept: Swept
    run_ids: dict[str, str]

    def leaderboard(self) -> list[Row]:
        """The final runs and floors, best valid RMSE first."""
        return rows(self.swept.finals, self.swept.trials, self.run_ids)

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        swept, sweep = self.swept, self.swept.spec.sweep
        return {
            "study": swept.study,
            "trials": sweep.trials if sweep else 0,
            "finished": {backend: len(trials) for backend, trials in swept.trials.items()},
            "finals": [{**_shown(row), "evaluation": row.record.evaluation} for row in self.leaderboard()],
            "oracle": swept.oracle,
            "pareto": swept.front,
            "test_openings": len(swept.audit.openings) if swept.audit else 0,
            "audit": swept.audit.summary() if swept.audit else None,
        }


def _shown(row: Row) -> dict[str, Any]:
    """Of a final all but what it shares with the others, and what its training saw of train."""
    left_out = ("outcome", "trials", "search_seconds", "train_rmse", "train_mae")
    return {name: value for name, value in row.told().items() if name not in left_out}


def sweep(
    spec: SpecSource,
    trials: int | None = None,
    workers: int = 1,
    changes: Iterable[str] = (),
    timeout: float | None = None,
    backends: Sequence[str] = (),
) -> SweepResult:
    """The sweep of a spec, or what is left of it: a study a backend, then the final runs, test opened once at the end.

    trials: instead of the spec's number. The result does not depend on the number of workers. timeout: seconds after which
    the sweep stops between two batches, without final runs; the same call goes on with it. backends: those alone, of those
    that the spec names; the study, and so its trials, are the same as of all of them.
    """
    checked = load_spec(spec, [*changes, *([f"sweep.trials={trials}"] if trials is not None else [])]).only(backends)
    plan = Plan.of(checked)
    with watched(checked.name) as (watcher, export):
        try:
            swept = plan.execute(workers, watcher, timeout)
        except BaseException as error:
            export.stop_sweep("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        if swept.stopped:
            export.stop_sweep()
        else:
            export.close_sweep(swept)
    return SweepResult(swept, dict(export.run_ids))
