"""`suite`: the sweeps of a suite one after the other, and their results in one table."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfbench.commands.suites.definition import Suite, SuiteSource, load_suite
from mfbench.commands.sweep import run_sweep
from mfbench.core.errors import SpecError, WorkError
from mfbench.report.suites.cells import cells_of
from mfbench.report.suites.page import write_suite
from mfbench.report.suites.table import SuiteTable
from mfbench.search.outcome import Swept
from mfbench.search.sweep import Plan

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class SuiteResult:
    """The sweeps of a suite by the name of their spec; None for one in which no trial completed.

    failures: a sentence for each backend without a result. stopped: in words, how far it came if its time was up before the
    end; else None, and path is that of the page.
    """

    suite: Suite
    sweeps: Mapping[str, Swept | None]
    failures: list[str]
    stopped: str | None = None
    path: Path | None = None

    def __repr__(self) -> str:
        return f"<suite {self.suite.name}: {len(self.suite.backends)} backends on {len(self.suite.datasets)} data sets>"

    @cached_property
    def table(self) -> SuiteTable:
        """The table over all data sets."""
        return table_of(self.suite, self.sweeps)

    def to_frame(self) -> pd.DataFrame:
        """A row for each backend on each data set."""
        return self.table.to_frame()

    def summary(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        done = self.stopped is None
        return {
            "suite": self.suite.name,
            "datasets": self.suite.datasets,
            "studies": {name: swept and swept.study for name, swept in self.sweeps.items()},
            "cells": [cell.as_dict() for cell in self.table.cells] if done else [],
            "ranks": self.table.ranks.summary() if done and self.table.ranks else None,
            "oracle": self.table.oracle if done else {},
            "failures": self.failures,
            "stopped": self.stopped,
            "report_path": str(self.path) if self.path else None,
        }


def table_of(suite: Suite, sweeps: Mapping[str, Swept | None]) -> SuiteTable:
    """The table of a suite. sweeps: by the name of their spec."""
    of: dict[str, list[Swept | None]] = {}
    for member in suite.members:
        of.setdefault(member.dataset, []).append(sweeps[member.spec.name])
    best: dict[str, float] = {}
    for dataset, each in of.items():
        known = [swept.oracle["test_rmse"] for swept in each if swept and swept.oracle]
        if len(known) == len(each):
            best[dataset] = sum(known) / len(known)
    return SuiteTable(suite.name, suite.datasets, cells_of(of, suite.backends), best)


def suite(
    source: SuiteSource,
    workers: int = 1,
    changes: Iterable[str] = (),
    timeout: float | None = None,
    cluster: str | None = None,
    folder: str | Path | None = None,
) -> SuiteResult:
    """Sweep one spec on several data sets, and put the results into one table with ranks, pictures and a page.

    If it was interrupted, the same call resumes it: finished trials are not trained again. A data set on which nothing
    completed is an empty column. All data sets are prepared before anything is trained.
    source: a YAML file or a mapping, see `load_suite` and `docs/suites.md`. workers, cluster: as in `mfbench.sweep`. changes:
    to all its specs, e.g. `sweep.trials=5`. timeout: seconds after which it stops at the end of a batch, without a table.
    folder: where the table, the pictures and the page are written, by default `results/<suite>/`. InputError if the suite, an
    argument or the data is invalid.

    >>> import mfbench
    >>> result = mfbench.suite({
    ...     "name": "example",
    ...     "datasets": {
    ...         "wide": {"data": {"planted": {"users": 60, "items": 80, "ratings": 2000}}},
    ...         "tall": {"data": {"planted": {"users": 90, "items": 40, "ratings": 1500}}},
    ...     },
    ...     "split": {"kind": "random", "valid": 0.1, "test": 0.1},
    ...     "sweep": {"trials": 1, "backends": ["mean"]},
    ... })
    >>> result.to_frame()["dataset"].tolist(), str(result.path)
    (['wide', 'tall'], 'results/example/report.html')
    """
    found = load_suite(source, changes)
    end = None if timeout is None else time.monotonic() + timeout
    plans = [Plan.of(member.spec) for member in found.members]
    for member, plan in zip(found.members, plans, strict=True):
        if "test" not in plan.parts[0].n:
            raise SpecError(f"{found.name}: {member.dataset}: split: a suite compares scores on test; give test a share")
    sweeps, failures = dict[str, Swept | None](), list[str]()
    while plans:
        plan = plans.pop(0)  # so that its parts do not stay in memory
        name = plan.spec.name
        try:
            made = run_sweep(plan, workers, None if end is None else end - time.monotonic(), cluster)
        except WorkError as error:
            sweeps[name] = None
            failures.append(str(error))
            continue
        sweeps[name] = made.swept
        failures += [f"{name}: {sentence}" for sentence in made.swept.failures]
        if made.swept.stopped or (plans and end is not None and time.monotonic() > end):
            done = sum(swept is None or swept.stopped is None for swept in sweeps.values())
            return SuiteResult(
                found, sweeps, failures, f"time limit reached; {done} of {len(found.members)} sweeps are finished"
            )
    result = SuiteResult(found, sweeps, failures)
    return SuiteResult(found, sweeps, failures, None, write_suite(result.table, found.text, Path(folder) if folder else None))
