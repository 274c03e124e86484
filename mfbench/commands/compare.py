"""Comparing runs, given by spec file, experiment, run key or MLflow run id, as a leaderboard and as a page of MLflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mfbench.commands.find import all_experiments, find_run, studies
from mfbench.core.errors import InputError, WorkError
from mfbench.report import page
from mfbench.report.leaderboard import rows
from mfbench.report.results import Comparison
from mfbench.runs.record_files import check_unchanged, study_records
from mfbench.runs.records import Record
from mfbench.runs.repeats import averaged
from mfbench.search.outcome import Swept, standing
from mfbench.tracking.client import Tracker
from mfbench.tracking.pages import compare_page, pointer


def compared(what: Sequence[str]) -> Comparison:
    """As `compare`, but InputError if the runs have not all the same data and split."""
    found = compare(*what)
    if len(found) > 1:
        listed = "; ".join(board.heading for board in found)
        named = " and ".join(what) or "all runs"
        raise InputError(f"{named}: not comparable, because data or split differ ({listed}); give one spec")
    return found[0]


def compare(*what: str) -> list[Comparison]:
    """Leaderboards of some runs, one for each data set and split; of all experiments under `runs/` if none is named.

    what: spec files and names of experiments, for their final runs, floors and plain runs; run keys, MLflow run ids and
    paths of records, for single runs. InputError if one of them matches nothing, or no run has finished.

    >>> import mfbench
    >>> data = {"planted": {"users": 60, "items": 80, "ratings": 2000}}  # generated ratings
    >>> spec = {"name": "example", "data": data, "split": {"kind": "random", "valid": 0.1}}
    >>> for backend in ("loop", "mean"):
    ...     result = mfbench.run(spec, [f"model.backend={backend}", "model.epochs=5"])
    >>> (board,) = mfbench.compare("example")
    >>> board.to_frame()["backend"].tolist()
    ['mean', 'loop']
    """
    records: dict[str, Record] = {}
    sweeps: list[Swept] = []
    for one in what or all_experiments():
        single = find_run(one)
        if single is not None:
            records[single.run_key] = check_unchanged(single, Path(one))
            continue
        for study in studies([one]):
            found = list(study_records(study))
            swept = Swept.of(found)
            sweeps += [swept] if swept else []
            last = standing(swept.finals) if swept else averaged(found)
            records |= {record.run_key: record for record in last}
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
            break  # the other studies are in the same store
    alike: dict[tuple[str, str], list[Record]] = {}
    for record in records.values():
        alike.setdefault((record.data.data_digest, record.data.split_digest), []).append(record)
    return [_board(kept, sweeps, ids, problem) for kept in alike.values()]


def _board(records: Sequence[Record], sweeps: Sequence[Swept], ids: Mapping[str, str], problem: str | None) -> Comparison:
    # With several sweeps, the trials of a backend do not belong to one search.
    searched = {record.study for record in records if record.stage != "run"}
    here = [swept for swept in sweeps if swept.study in searched]
    swept = here[0] if len(here) == len(searched) == 1 else None
    return Comparison(rows(records, swept.trials if swept else {}, ids), swept, problem)


def _why_no_final(swept: Swept) -> str:
    ended = Counter(trial.outcome for trial in swept.all_trials)
    if not ended["completed"]:
        return swept.none_completed
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in ended.items())
    trials = f"{len(swept.all_trials)} trials finished ({outcomes})"
    return f"{swept.study}: {trials}, but there is no final run yet; resume it with `mfbench sweep SPEC`"


def write_report(what: str) -> Path:
    """Write the leaderboard, pictures and an HTML page of an experiment to `results/`; return the path of the page.

    what: a spec that has run, or the name of its experiment. InputError if it has no finished run, or runs on several
    data sets or splits.
    """
    return page.write_report(compared([what]))


def addresses(comparison: Comparison) -> list[str]:
    """A sentence for each experiment with the address of the MLflow page that compares exactly these runs."""
    found = [comparison.problem] if comparison.problem else []
    for experiment in comparison.experiments:
        ids = [row.run_id for row in comparison.board if row.record.spec.name == experiment and row.run_id]
        found += [pointer(compare_page, experiment, ids)] if ids else []
    return found
