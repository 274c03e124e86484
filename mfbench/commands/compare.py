"""Comparing runs, given by spec file, experiment, run key or MLflow run id, as a leaderboard and as a page of MLflow."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from mfbench.commands.find import all_experiments, find_run, studies
from mfbench.core.errors import InputError, WorkError
from mfbench.report.leaderboard import rows
from mfbench.report.results import Comparison
from mfbench.runs.record_files import study_records
from mfbench.runs.records import Record
from mfbench.runs.repeats import averaged
from mfbench.search.outcome import Swept
from mfbench.tracking.client import Tracker
from mfbench.tracking.pages import compare_page, pointer


def compared(what: Sequence[str]) -> Comparison:
    """The comparison of some runs; of all experiments under `runs/` if `what` is empty.

    what: spec files and names of experiments, for their final runs, floors and plain runs; run keys, MLflow run ids and
    paths of records, for single runs. InputError if one of them matches nothing, or no run has finished.
    """
    records: dict[str, Record] = {}
    sweeps: list[Swept] = []
    for one in what or all_experiments():
        single = find_run(one)
        if single is not None:
            records[single.run_key] = single
            continue
        for study in studies([one]):
            found = list(study_records(study))
            swept = Swept.of(found)
            sweeps += [swept] if swept else []
            last = swept.finals if swept else averaged(found)
            records |= {record.run_key: record for record in last if not _outdated(record, last)}
    if not records:
        advice = "there is no finished run to compare yet; make one with `mfbench run SPEC` or `mfbench sweep SPEC`"
        raise InputError("; ".join(map(_why_no_final, sweeps)) or advice)
    ids: dict[str, str] = {}
    problem = None
    with_trials = {record.study for record in records.values() if record.stage == "trial"}
    for study, name in {(record.study, record.spec.name) for record in records.values()}:
        try:
            ids |= Tracker(name).run_ids(study, trials=study in with_trials)
        except WorkError as error:  # the leaderboard needs only records
            problem = str(error)
    kept = list(records.values())
    # With several sweeps, the trials of a backend do not belong to one search.
    swept = sweeps[0] if len({record.study for record in kept if record.stage != "run"}) <= 1 and len(sweeps) == 1 else None
    return Comparison(rows(kept, swept.trials if swept else {}, ids), swept, problem)


def _why_no_final(swept: Swept) -> str:
    ended = Counter(trial.outcome for trial in swept.all_trials)
    if not ended["completed"]:
        return swept.none_completed
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in ended.items())
    trials = f"{len(swept.all_trials)} trials finished ({outcomes})"
    return f"{swept.study}: {trials}, but there is no final run yet; resume it with `mfbench sweep SPEC`"


def _outdated(record: Record, study: Sequence[Record]) -> bool:
    """Whether a resumed search has found a better trial than the one of this final run."""
    finals = [other for other in study if other.stage == record.stage == "final" and other.backend == record.backend]
    return any((other.valid_rmse or math.inf) < (record.valid_rmse or math.inf) for other in finals)


def addresses(comparison: Comparison) -> list[str]:
    """A sentence for each experiment with the address of the MLflow page that compares exactly these runs."""
    found = [comparison.problem] if comparison.problem else []
    for experiment in comparison.experiments:
        ids = [row.run_id for row in comparison.board if row.record.spec.name == experiment and row.run_id]
        found += [pointer(compare_page, experiment, ids)] if ids else []
    return found
