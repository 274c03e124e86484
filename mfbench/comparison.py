"""Putting runs beside each other: by spec, by experiment, by run key or MLflow id; and writing a board to `results/`."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mfbench.errors import InputError
from mfbench.leaderboard import Row, markdown, rows
from mfbench.mlflow_addresses import UI_PORT, compare_address
from mfbench.records import RESULTS, RUNS, Record, Stage, find_record, studies_of, study_records, write_whole
from mfbench.spec import load_spec, run_study_key, study_key
from mfbench.tracking import Tracker, run_key_of, store_uri


@dataclass(frozen=True)
class Comparison:
    """A leaderboard of runs, with the records behind it."""

    records: list[Record]
    board: list[Row]

    @property
    def oracle(self) -> dict[str, float] | None:
        """What no model can beat, where all runs are on the same data and split."""
        found = [record.oracle("test") for record in self.records]
        return found[0] if found and all(one == found[0] for one in found) else None

    @property
    def experiments(self) -> list[str]:
        """The names of the experiments, each once."""
        return sorted({record.spec["name"] for record in self.records})

    def addresses(self) -> list[str]:
        """For each experiment a sentence with the address of MLflow's page that has just these runs beside each other."""
        found = []
        for experiment in self.experiments:
            mine = {record.run_key for record in self.records if record.spec["name"] == experiment}
            found += comparison_address(experiment, [row.run_id for row in self.board if row.run_key in mine])
        return found

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {"runs": [asdict(row) for row in self.board], "oracle": self.oracle}

    def write_results(self) -> None:
        """Write `results/<experiment>/`: the board as CSV and Markdown, and the metrics by backend as JSON.

        Only what another run of the same spec gives again: no clocks, no ids.
        """
        if len(self.experiments) != 1:
            raise InputError("results are written of one experiment at a time; give its spec")
        folder = RESULTS / self.experiments[0]
        kept = [
            {key: value for key, value in asdict(row).items() if not key.endswith(("_seconds", "_id"))} for row in self.board
        ]
        text = io.StringIO()
        writer = csv.DictWriter(text, kept[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        metrics = {
            row.backend: {name: value for name, value in asdict(row).items() if name.endswith(("_rmse", "_mae"))}
            for row in self.board
        }
        write_whole(folder / "leaderboard.csv", text.getvalue().encode())
        write_whole(folder / "leaderboard.md", markdown(self.board, self.oracle).encode())
        write_whole(folder / "metrics.json", (json.dumps({**metrics, "oracle": self.oracle}, indent=1) + "\n").encode())


def compared(what: Sequence[str]) -> Comparison:
    """The runs that are meant: of a spec file or an experiment its final runs, floors and plain runs; else single runs.

    Without `what`, all that there are. InputError where one means nothing.
    """
    records: dict[str, Record] = {}
    trials: dict[str, list[Record]] = {}
    for one in what or _all_experiments():
        single = _single_run(one)
        if single is not None:
            records[single.run_key] = single
            continue
        for study in studies([one]):
            for record in study_records(study):
                if record.stage == "trial":
                    trials.setdefault(record.backend, []).append(record)
                else:
                    records[record.run_key] = record
    if not records:
        raise InputError("there is no finished run to compare yet; make one with `mfbench run SPEC` or `mfbench sweep SPEC`")
    ids: dict[str, str] = {}
    for study, name in {(record.study, record.spec["name"]) for record in records.values()}:
        ids |= Tracker(name).run_ids(study)
    several = len({record.study for record in records.values()}) > 1
    return Comparison(list(records.values()), rows(list(records.values()), {} if several else trials, ids))


def comparison_address(experiment: str, run_ids: Sequence[str | None]) -> list[str]:
    """A sentence with the address of MLflow's comparison of these runs; none where none of them is in MLflow."""
    known = [run_id for run_id in run_ids if run_id]
    if not known:
        return []
    served = store_uri().startswith(("http:", "https:"))
    base, hint = (store_uri(), "") if served else (f"http://127.0.0.1:{UI_PORT}", " (after `mfbench ui`)")
    return [f"MLflow{hint}: {compare_address(base, Tracker(experiment).experiment_id, known)}"]


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


def _single_run(one: str) -> Record | None:
    key = run_key_of(one) if re.fullmatch("[0-9a-f]{32}", one) else one
    words = re.fullmatch(r"([^/]+)/(.+)/(\d+)/(run|trial|final|floor)", key)
    if words is None:
        return None
    study, backend, number, stage = words.groups()
    known: dict[str, Stage] = {"run": "run", "trial": "trial", "final": "final", "floor": "floor"}
    record = find_record(study, backend, known[stage], int(number))
    if record is None:
        raise InputError(f"{one}: there is no record of this run under {RUNS}/{study}")
    return record


def _all_experiments() -> list[str]:
    return sorted({path.name.rpartition("-")[0] for path in RUNS.glob("*-*") if path.is_dir()})


def _listed() -> str:
    return ", ".join(_all_experiments()) or "the experiments under runs/ (none yet)"
