"""What a sweep leaves: its trials and its final runs, and why there may be none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mfbench.core.paths import RUNS
from mfbench.runs.records import Record
from mfbench.runs.repeats import averaged
from mfbench.search.audit import audit
from mfbench.spec import Spec


@dataclass(frozen=True)
class Swept:
    """What a sweep leaves: all its records, and of them the trials and the final run of each backend, repeats averaged.

    One that was stopped in time has no final run at all. budgets: the number of trials that each backend is to have.
    """

    spec: Spec
    study: str
    budgets: dict[str, int]
    records: list[Record]

    @cached_property
    def trials(self) -> dict[str, list[Record]]:
        """The trials of each backend, by number."""
        runs = averaged(record for record in self.records if record.stage == "trial")
        return {name: [run for run in runs if run.backend == name] for name in self.budgets}

    @cached_property
    def finals(self) -> list[Record]:
        """The final runs and floors."""
        return averaged(record for record in self.records if record.stage != "trial")

    @property
    def oracle(self) -> dict[str, float] | None:
        """The RMSE and MAE that no model can beat on the test part, where the data knows them."""
        return self.records[0].oracle("test")

    @property
    def stopped(self) -> str | None:
        """How far a sweep is that was stopped in time, None for one that is done."""
        far = ", ".join(f"{len(trials)} of {self.budgets[name]} trials of {name}" for name, trials in self.trials.items())
        return None if self.finals else f"the time was up before the final runs; {far} are finished"

    @property
    def failures(self) -> list[str]:
        """A sentence for each backend that has no usable final run, but for a sweep that was stopped before these."""
        if self.stopped:
            return []
        completed = {record.backend for record in self.finals if record.outcome == "completed"}
        broken = {record.backend: [record] for record in self.finals}
        return [
            f"{name} has no final run: {why_none(broken.get(name, trials))}"
            for name, trials in self.trials.items()
            if name not in completed
        ]


def none_completed(study: str, trials: Sequence[Record]) -> str:
    """Of a study without a trial that completed a sentence: how those of each backend ended, and what to try."""
    by_backend: dict[str, list[Record]] = {}
    for trial in trials:
        by_backend.setdefault(trial.backend, []).append(trial)
    told = "; ".join(f"{name}: {why_none(found)}" for name, found in by_backend.items())
    advice = [sentence for one in audit(trials).searched for sentence in one.warnings()]
    more = "; ".join([f"the records are in {RUNS / study}", *advice])
    return f"{study}: no trial of any backend completed ({told}); {more}"


def why_none(records: Sequence[Record]) -> str:
    """How the runs of a backend ended, and the commonest reason."""
    reasons = [record.reason or record.outcome for record in records if record.outcome != "completed"]
    return f"{len(reasons)} of {len(records)} did not complete, mostly: {max(reasons, key=reasons.count)}"
