"""The result of a sweep: its trials and final runs, the audit of the search, and why there may be no final run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mfbench.core.paths import RUNS
from mfbench.runs.records import Record
from mfbench.runs.repeats import averaged, whole_spec
from mfbench.search.audit import Audit, audit
from mfbench.search.pareto import front
from mfbench.spec import Spec


@dataclass(frozen=True)
class Swept:
    """All records of a sweep and what is derived from them, computed once for the terminal, the report and MLflow.

    A sweep that reached its time limit has no final run. budgets: the planned number of trials of each backend.
    """

    spec: Spec
    study: str
    records: Sequence[Record]
    budgets: Mapping[str, int]

    @staticmethod
    def of(records: Sequence[Record]) -> Swept | None:
        """The sweep to which these records of one study belong, finished or not; None if they are all plain runs."""
        swept = [record for record in records if record.stage != "run"]
        if not swept:
            return None
        return Swept(whole_spec(swept), swept[0].study, swept, dict.fromkeys([record.backend for record in swept], 0))

    @cached_property
    def runs(self) -> list[Record]:
        """The trials, finals and floors, with repeats averaged."""
        return averaged(self.records)

    @cached_property
    def trials(self) -> dict[str, list[Record]]:
        """The trials of each backend, by number."""
        return {name: [run for run in self.all_trials if run.backend == name] for name in self.budgets}

    @cached_property
    def all_trials(self) -> list[Record]:
        """The trials of all backends."""
        return [run for run in self.runs if run.stage == "trial"]

    @cached_property
    def finals(self) -> list[Record]:
        """The final runs and floors."""
        return [run for run in self.runs if run.stage != "trial"]

    @cached_property
    def audit(self) -> Audit | None:
        """The search audit; None without a trial."""
        return audit(self.all_trials, self.spec.sweep) if self.all_trials else None

    @property
    def importances(self) -> dict[str, dict[str, float]]:
        """Hyperparameter importances by backend, for those with enough completed trials."""
        return self.audit.importances() if self.audit else {}

    @cached_property
    def front(self) -> list[dict[str, Any]] | None:
        """The Pareto front of all trials, see `pareto.front`; None with one objective."""
        return front(self.all_trials)

    @property
    def has_all_finals(self) -> bool:
        """Whether each backend of the latest spec has its final run or floor."""
        latest = max(self.records, key=lambda record: record.started).spec
        return set(latest.backends()) <= {record.backend for record in self.finals}

    @property
    def is_searched(self) -> bool:
        """Whether any backend has more than one trial."""
        return len(self.all_trials) > len({trial.backend for trial in self.all_trials})

    @property
    def oracle(self) -> dict[str, float] | None:
        """The RMSE and MAE that no model can beat on the test part, if the data has them."""
        return self.records[0].data.oracle_of("test")

    @property
    def ended(self) -> float:
        """When the last run ended, in seconds since 1970."""
        return max(record.ended for record in self.records)

    @property
    def stopped(self) -> str | None:
        """The progress of a sweep that reached its time limit; None if it is finished."""
        progress = ", ".join(f"{len(trials)} of {self.budgets[name]} trials of {name}" for name, trials in self.trials.items())
        return None if self.finals else f"time limit reached before the final runs; {progress} are finished"

    @property
    def failures(self) -> list[str]:
        """A sentence for each backend without a completed final run; empty if the sweep was stopped before the final runs."""
        if self.stopped:
            return []
        completed = {record.backend for record in self.finals if record.outcome == "completed"}
        broken = {record.backend: [record] for record in self.finals}
        return [
            f"{name} has no final run: {_why_none(broken.get(name, trials))}"
            for name, trials in self.trials.items()
            if name not in completed
        ]

    @property
    def none_completed(self) -> str:
        """For a study in which no trial completed: why, by backend, and what to try."""
        reasons = "; ".join(f"{name}: {_why_none(trials)}" for name, trials in self.trials.items() if trials)
        advice = [sentence for search in (self.audit.searched if self.audit else []) for sentence in search.warnings()]
        more = "; ".join([f"the records are in {RUNS / self.study}", *advice])
        return f"{self.study}: no trial of any backend completed ({reasons}); {more}"


def standing(finals: Sequence[Record]) -> list[Record]:
    """The finals and floors of a study that stand: of each backend those of the best trial, which the longest search found.

    A shorter search, made later, has a final run of its own, but it replaces nothing. Those of a user's own backend as it was
    before its last change do not stand.
    """
    latest = {record.backend: record.backend_digest for record in sorted(finals, key=lambda record: record.ended)}
    now = [record for record in finals if record.backend_digest == latest[record.backend]]
    best: dict[str, float] = {}
    for record in now:
        best[record.backend] = min(best.get(record.backend, math.inf), record.cost)
    return [record for record in now if record.stage != "final" or record.cost == best[record.backend]]


def _why_none(records: Sequence[Record]) -> str:
    """How many runs of a backend did not complete, and the most common reason."""
    reasons = [record.reason or record.outcome for record in records if record.outcome != "completed"]
    return f"{len(reasons)} of {len(records)} did not complete, mostly: {max(reasons, key=reasons.count)}"
