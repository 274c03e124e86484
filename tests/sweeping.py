"""Sweeps of a test, without MLflow: what they find, what they say, and what of it must be the same to the bit."""

from __future__ import annotations

from typing import Any

from mfbench.runs.progress import Watcher
from mfbench.runs.records import Record
from mfbench.search.outcome import Swept
from mfbench.search.sweep import Plan
from mfbench.spec import SpecSource, load_spec


class Listener(Watcher):
    """Keeps what it is told: `said`, the sentences; `heard`, these and the stage of each record, as they came."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.heard: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)
        self.heard.append(sentence)

    def done(self, record: Record) -> None:
        self.heard.append(record.stage)


def swept(
    spec: SpecSource, *changes: str, workers: int = 1, watcher: Watcher | None = None, timeout: float | None = None
) -> Swept:
    """The sweep of a spec with changes like `sweep.trials=4`."""
    return Plan.of(load_spec(spec, changes)).execute(workers, watcher or Watcher(), timeout)


def bits(result: Swept) -> list[tuple[Any, ...]]:
    """What must be the same of two sweeps that are one."""
    return [
        (r.run_key, r.hyper, r.outcome, r.epochs, r.valid_rmse, r.test_rmse, r.intervals, r.result) for r in result.records
    ]
