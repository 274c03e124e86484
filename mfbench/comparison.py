"""Putting runs beside each other: by spec, by experiment, by run key or MLflow id; and writing a board to `results/`."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from mfbench.audit import Audit, audit
from mfbench.errors import InputError, WorkError
from mfbench.filled import filled_table
from mfbench.finding import find_run
from mfbench.leaderboard import COLUMNS, COMPARED, Row, markdown, rows
from mfbench.mae_chart import mae_curves
from mfbench.mlflow_pages import compare_page, pointer
from mfbench.pareto import as_csv, front
from mfbench.pictures import save
from mfbench.records import RESULTS, RUNS, Record, studies_of, study_records
from mfbench.repeats import averaged
from mfbench.run_pictures import run_curves
from mfbench.search_pictures import sweep_picture
from mfbench.spec import load_spec, run_study_key, study_key
from mfbench.swept import none_completed
from mfbench.tracking import Tracker
from mfbench.whole_files import write_whole


@dataclass(frozen=True)
class Comparison:
    """A leaderboard of runs, with the records behind it."""

    records: list[Record]
    board: list[Row]
    trials: list[Record]
    problem: str | None = None

    @property
    def oracle(self) -> dict[str, float] | None:
        """What no model can beat, where all runs are on the same data and split."""
        found = [record.oracle("test") for record in self.records]
        return found[0] if found and all(one == found[0] for one in found) else None

    @property
    def best(self) -> Record:
        """The record of the board's first row."""
        return next(record for record in self.records if record.run_key == self.board[0].run_key)

    @cached_property
    def audit(self) -> Audit | None:
        """The audit of the search, where all that is compared is of one sweep."""
        return audit(self.trials) if self.trials else None

    @cached_property
    def search_png(self) -> bytes:
        """What each trial tried, as PNG: drawn once for the results and for the page."""
        return save(sweep_picture([*self.trials, *self.records]))

    @property
    def experiments(self) -> list[str]:
        """The names of the experiments, each once."""
        return sorted({record.spec["name"] for record in self.records})

    def addresses(self) -> list[str]:
        """For each experiment a sentence with the address of MLflow's page that has just these runs beside each other."""
        found = [self.problem] if self.problem else []
        for experiment in self.experiments:
            mine = {record.run_key for record in self.records if record.spec["name"] == experiment}
            ids = [row.run_id for row in self.board if row.run_key in mine and row.run_id]
            found += [pointer(compare_page, experiment, ids)] if ids else []
        return found

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        audited = self.audit.summary() if self.audit else None
        return {"runs": [row.told() for row in self.board], "oracle": self.oracle, "audit": audited}

    def write_results(self) -> None:
        """Write `results/<experiment>/`: the board as CSV and Markdown, its metrics by backend as JSON, a picture, the audit
        of a search, and the filled-in matrix where it is small; with two objectives the Pareto front.

        Of a sweep its finals and floors are the results, else the plain runs. Only the clocks in the Markdown, and the last
        digits on another kind of machine, differ when the same specs are run again.
        """
        if len(self.experiments) != 1:
            raise InputError("results are written of one experiment at a time; give its spec")
        records = {record.run_key: record for record in self.records}
        plain = all(record.stage == "run" for record in self.records)
        board = [replace(row, run_id=None) for row in self.board if plain or records[row.run_key].stage != "run"]
        filled = [table for row in board if (table := filled_table(records[row.run_key]))]
        made = {
            "leaderboard.csv": _csv(board).encode(),
            "leaderboard.md": markdown(board, self.oracle).encode(),
            "metrics.json": (json.dumps(_metrics(board, self.oracle), indent=1) + "\n").encode(),
        }
        if filled:
            made["filled.csv"] = filled[0].encode()
        if (found := front(self.trials)) is not None:
            made["pareto.csv"] = as_csv(found).encode()
        if self.audit and len(self.trials) > len({trial.backend for trial in self.trials}):
            made["audit.md"] = self.audit.markdown().encode()
            made["sweep.png"] = self.search_png
        elif self.trials:  # nothing was searched
            made["mae.png"] = save(mae_curves([*self.trials, *self.records]))
        elif plain:
            made["learning_curves.png"] = save(run_curves(records[board[0].run_key]))
        for name, content in made.items():
            write_whole(RESULTS / self.experiments[0] / name, content)


def _csv(board: Sequence[Row]) -> str:
    lines = [row.told() for row in board]
    known = {name for line in lines for name in line}
    named = [column for name in COLUMNS for column in (name, f"{name}_ci95") if column in known]
    kept = [name for name in named if not name.endswith(("_seconds", "_id"))]
    kept += [name for name in COMPARED if name in known]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*kept, "run_key"], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _metrics(board: Sequence[Row], oracle: Mapping[str, float] | None) -> dict[str, dict[str, float]]:
    """By backend what it was judged by: valid and test where there are such parts, else train."""
    found: dict[str, dict[str, float]] = {}
    for row in board:
        judged = ("valid", "test") if row.valid_rmse is not None else ("train",)
        told = row.told()
        names = [f"{part}_{kind}{end}" for part in judged for kind in ("rmse", "mae") for end in ("", "_ci95")]
        numbers = {name: told.get(name) for name in names}
        found.setdefault(row.backend, {name: value for name, value in numbers.items() if value is not None})
    return found | ({"oracle": dict(oracle)} if oracle else {})


def compared(what: Sequence[str]) -> Comparison:
    """The runs that are meant: of a spec file or an experiment its final runs, floors and plain runs; else single runs.

    Without `what`, all that there are. InputError where one means nothing.
    """
    records: dict[str, Record] = {}
    trials: dict[str, list[Record]] = {}
    without_final: list[str] = []
    for one in what or _all_experiments():
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


def charted(what: str | None) -> list[Record]:
    """The records of the study whose charts are meant by a spec file or an experiment, by default the latest that has run.

    One that has final runs goes before one that has not, then the later before the earlier. Empty where nothing has run.
    """
    name = what or _latest_experiment()
    found = [records for key in studies([name]) if (records := list(study_records(key)))] if name else []
    finals = ("final", "floor")
    key = lambda records: (any(r.stage in finals for r in records), max(r.ended for r in records))  # noqa: E731
    return max(found, key=key, default=[])


def studies(what: Sequence[str]) -> list[str]:
    """The study keys of spec files and experiments; all that there are where none is given."""
    found = []
    for one in what or _all_experiments():
        if one.endswith((".yaml", ".yml")):
            spec = load_spec(one)
            keys = [key for key in (study_key(spec), run_study_key(spec)) if (RUNS / key).is_dir()]
        elif (RUNS / one).is_dir():
            keys = [one]
        else:
            keys = studies_of(one)
        if not keys:
            raise InputError(f"{one}: there are no runs of it; give a spec, one of {_listed()}, a run key or an MLflow run id")
        found += keys
    return found


def _latest_experiment() -> str | None:
    newest = max(RUNS.glob("*-*/*/*.json"), key=lambda path: path.stat().st_mtime_ns, default=None)
    return newest.parents[1].name.rpartition("-")[0] if newest else None


def _all_experiments() -> list[str]:
    return sorted({path.name.rpartition("-")[0] for path in RUNS.glob("*-*") if path.is_dir()})


def _listed() -> str:
    return ", ".join(_all_experiments()) or "the experiments under runs/ (none yet)"
