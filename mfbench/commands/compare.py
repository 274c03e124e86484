"""Comparing runs, given by spec file, experiment, run key or MLflow run id, as a leaderboard and as a page of MLflow."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mfbench.commands.evaluations.stored import with_evaluations
from mfbench.commands.find import all_experiments, find_run, studies
from mfbench.core.errors import InputError, WorkError
from mfbench.report import page
from mfbench.report.leaderboard import rows
from mfbench.report.results import Comparison
from mfbench.runs.record_files import check_unchanged, study_records
from mfbench.runs.records import METRICS, Record
from mfbench.runs.repeats import averaged
from mfbench.search.outcome import Swept, standing
from mfbench.tracking.exported import run_ids
from mfbench.tracking.pages import compare_page, pointer


def compared(what: Sequence[str]) -> Comparison:
    """As `compare`, but InputError if the runs have not all the same data and split."""
    found = compare(*what)
    if len(found) > 1:
        listed = "; ".join(board.heading for board in found)
        named = " and ".join(what) or "all runs"
        raise InputError(f"{named}: not comparable, because data or split differ ({listed}); give one spec")
    return found[0]


def compare(*what: str | Path, metrics: Sequence[str] = ()) -> list[Comparison]:
    """Leaderboards of some runs, one for each data set and split; of all experiments under `runs/` if none is named.

    what: spec files and names of experiments, for their final runs, floors and plain runs; run keys, MLflow run ids and
    paths of records, for single runs. metrics: more columns, such as `test_ndcg_10`, from the records and from the
    evaluations beside them. A board is ordered by the objective of its sweep, or else the valid RMSE; the first of `metrics`
    that is on valid takes its place. One on test never orders a board, as to choose by it would make it optimistic.
    InputError if one of `what` matches nothing, no run has finished, or none has one of `metrics`.

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
    for one in [os.fspath(one) for one in what] or all_experiments():
        single = find_run(one)
        if single is not None:
            records[single.run_key] = with_evaluations(check_unchanged(single, Path(one)))
            continue
        for study in studies([one]):
            found = [one if one.stage == "trial" else with_evaluations(one) for one in study_records(study)]
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
            ids |= run_ids(name, study, trials=study in with_trials)
        except WorkError as error:  # the leaderboard needs only records
            problem = str(error)
            break  # the other studies are in the same store
    alike: dict[tuple[str, str], list[Record]] = {}
    for record in records.values():
        alike.setdefault((record.data.data_digest, record.data.split_digest), []).append(record)
    for metric in metrics:
        _check_metric(metric, list(records.values()))
    return [_board(kept, sweeps, ids, problem, metrics) for kept in alike.values()]


def _check_metric(metric: str, records: Sequence[Record]) -> None:
    """InputError if no run has that metric, or if the runs have it from different code."""
    if all(record.metric(metric) is None for record in records):
        known = {name for record in records for name in (*METRICS, *record.evaluation) if record.metric(name) is not None}
        near = difflib.get_close_matches(metric, sorted(known), 5) or sorted(known)[:5]
        raise InputError(
            f"--metric {metric}: no run here has this metric; choose another, such as {', '.join(near)}, or compute it with"
            f" `mfbench evaluate RUN --metric {metric}`"
        )
    name = metric.partition("_")[2]
    codes = {code.digest: record for record in records if (code := record.own_metrics.get(name))}
    if len(codes) > 1:
        one, other = (record.run_key for record in list(codes.values())[:2])
        raise InputError(
            f"--metric {metric}: its code differed between {one} and {other}, so their values are not comparable; compute both"
            " again with `mfbench evaluate`"
        )


def _board(
    records: Sequence[Record], sweeps: Sequence[Swept], ids: Mapping[str, str], problem: str | None, metrics: Sequence[str]
) -> Comparison:
    # With several sweeps, the trials of a backend do not belong to one search.
    searched = {record.study for record in records if record.stage != "run"}
    here = [swept for swept in sweeps if swept.study in searched]
    swept = here[0] if len(here) == len(searched) == 1 else None
    return Comparison(rows(records, swept.trials if swept else {}, ids, metrics), swept, problem)


def _why_no_final(swept: Swept) -> str:
    ended = Counter(trial.outcome for trial in swept.all_trials)
    if not ended["completed"]:
        return swept.none_completed
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in ended.items())
    trials = f"{len(swept.all_trials)} trials finished ({outcomes})"
    return f"{swept.study}: {trials}, but there is no final run yet; resume it with `mfbench sweep SPEC`"


def write_report(what: str | Path, folder: str | Path | None = None) -> Path:
    """Write the leaderboard, pictures and an HTML page of an experiment; return the path of the page.

    what: a spec that has run, or the name of its experiment. folder: where to, by default `results/<experiment>/`.
    InputError if it has no finished run, or runs on several data sets or splits.
    """
    return page.write_report(compared([os.fspath(what)]), Path(folder) if folder else None)


def addresses(comparison: Comparison) -> list[str]:
    """A sentence for each experiment with the address of the MLflow page that compares exactly these runs."""
    found = [comparison.problem] if comparison.problem else []
    for experiment in comparison.experiments:
        ids = [row.run_id for row in comparison.board if row.record.spec.name == experiment and row.run_id]
        found += [pointer(compare_page, experiment, ids)] if ids else []
    return found
