"""A sweep, as it is asked for and answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mfbench.report.leaderboard import COMPARED, Row, rows
from mfbench.search.audit import Audit, audit
from mfbench.search.outcome import Swept
from mfbench.search.pareto import front
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

    def pareto(self) -> list[dict[str, Any]] | None:
        """The Pareto front of all trials, see `mfbench.search.pareto.front`; None with one objective."""
        return front([trial for trials in self.swept.trials.values() for trial in trials])

    @cached_property
    def audit(self) -> Audit:
        """What the search says about itself."""
        return audit([trial for trials in self.swept.trials.values() for trial in trials])

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        shown = (
            "backend", "run_key", "run_id", "K", "alpha", "beta", "epochs", "valid_rmse", "valid_mae", "test_rmse", "test_mae",
            "train_seconds",
        )  # fmt: skip
        sweep = self.swept.spec.sweep
        evaluations = {record.run_key: record.evaluation for record in self.swept.finals}
        return {
            "study": self.swept.study,
            "trials": sweep.trials if sweep else 0,
            "finished": {backend: len(trials) for backend, trials in self.swept.trials.items()},
            "finals": [{**_those(row.told(), shown), "evaluation": evaluations[row.run_key]} for row in self.leaderboard()],
            "oracle": self.swept.oracle,
            "pareto": self.pareto(),
            "test_openings": len(self.audit.openings),
            "audit": self.audit.summary(),
        }


def _those(told: Mapping[str, Any], shown: Sequence[str]) -> dict[str, Any]:
    """What is shown, over how many repeats each mean is taken, how sure it is, and how it compares with the best."""
    more = [name for name in told if name.endswith("_ci95") or name in ("repeats", "finals", *COMPARED)]
    return {name: told[name] for name in (*shown, *more)}


def sweep(
    spec: SpecSource,
    trials: int | None = None,
    workers: int = 1,
    changes: Iterable[str] = (),
    timeout: float | None = None,
) -> SweepResult:
    """The sweep of a spec, or what is left of it: a study a backend, then the final runs, test opened once at the end.

    trials: instead of the spec's number. The result does not depend on the number of workers. timeout: seconds after which
    the sweep stops between two batches, without final runs; the same call goes on with it.
    """
    checked = load_spec(spec, [*changes, *([f"sweep.trials={trials}"] if trials is not None else [])])
    plan = Plan.of(checked)
    with watched(checked.name) as (watcher, export):
        try:
            swept = plan.carry_out(workers, watcher, timeout)
        except BaseException as error:
            export.stop_sweep("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        if swept.stopped:
            export.stop_sweep()
        else:
            export.close_sweep(swept.records, swept.oracle)
    return SweepResult(swept, dict(export.run_ids))
