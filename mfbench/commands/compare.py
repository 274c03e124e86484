"""Putting runs beside each other: by spec, by experiment, by run key or MLflow id; and writing a board to `results/`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from mfbench.commands.find import all_experiments, find_run, studies
from mfbench.core.errors import InputError, WorkError
from mfbench.report.leaderboard import rows
from mfbench.report.results import Comparison
from mfbench.runs.records import Record, study_records
from mfbench.runs.repeats import averaged
from mfbench.search.outcome import none_completed
from mfbench.tracking.client import Tracker
from mfbench.tracking.pages import compare_page, pointer


def compared(what: Sequence[str]) -> Comparison:
    """The runs that are meant: of a spec file or an experiment its final runs, floors and plain runs; else single runs.

    Without `what`, all that there are. InputError where one means nothing.
    """
    records: dict[str, Record] = {}
    trials: dict[str, list[Record]] = {}
    without_final: list[str] = []
    for one in what or all_experiments():
        single = find_run(one)
        if single is not None:
            records[single.run_key] = single
            continue
        for study in studies([one]):
            found = averaged(study_records(study))
            for record in found:
                if record.stage == "trial":
                    trials.setdefault(record.backend, []).append(record)
            last = [record for record in found if record.stage != "trial"]
            records |= {record.run_key: record for record in last if not _outdated(record, found)}
            if found and not last:
                without_final.append(_why_no_final(study, found))
    if not records:
        advice = "there is no finished run to compare yet; make one with `mfbench run SPEC` or `mfbench sweep SPEC`"
        raise InputError("; ".join(without_final) or advice)
    ids: dict[str, str] = {}
    problem = None
    for study, name in {(record.study, record.spec["name"]) for record in records.values()}:
        try:
            ids |= Tracker(name).run_ids(study)
        except WorkError as error:  # the board needs records alone
            problem = str(error)
    kept = list(records.values())
    if len({record.study for record in kept if record.stage != "run"}) > 1:
        trials = {}  # of several sweeps: one backend's are not of one search
    return Comparison(kept, rows(kept, trials, ids), [trial for each in trials.values() for trial in each], problem)


def _why_no_final(study: str, trials: Sequence[Record]) -> str:
    ended = Counter(trial.outcome for trial in trials)
    if not ended["completed"]:
        return none_completed(study, trials)
    told = ", ".join(f"{count} {outcome}" for outcome, count in ended.items())
    return f"{study}: of its {len(trials)} trials {told}, but there is no final run yet; `mfbench sweep SPEC` goes on to it"


def _outdated(record: Record, study: Sequence[Record]) -> bool:
    """Whether the search went on after this final run, and found a better trial."""
    finals = [other for other in study if other.stage == record.stage == "final" and other.backend == record.backend]
    return any((other.valid_rmse or math.inf) < (record.valid_rmse or math.inf) for other in finals)


def addresses(comparison: Comparison) -> list[str]:
    """For each experiment a sentence with the address of MLflow's page that has just these runs beside each other."""
    found = [comparison.problem] if comparison.problem else []
    for experiment in comparison.experiments:
        mine = {record.run_key for record in comparison.records if record.spec["name"] == experiment}
        ids = [row.run_id for row in comparison.board if row.run_key in mine and row.run_id]
        found += [pointer(compare_page, experiment, ids)] if ids else []
    return found
