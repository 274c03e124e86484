"""A leaderboard of runs with the records behind it, and writing it to `results/`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from mfbench.core.errors import InputError
from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.report.curves import mae_curves, run_curves
from mfbench.report.filled import filled_table
from mfbench.report.leaderboard import COLUMNS, COMPARED, Row, markdown
from mfbench.report.search_pictures import sweep_picture
from mfbench.report.style import save
from mfbench.runs.records import Record
from mfbench.search.audit import Audit, audit
from mfbench.search.pareto import as_csv, front


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
