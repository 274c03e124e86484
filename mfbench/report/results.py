"""A leaderboard with the records behind it, and the files in `results/` made from it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mfbench.core import tables
from mfbench.core.errors import InputError
from mfbench.core.files import write_whole
from mfbench.core.objective import Objective
from mfbench.core.paths import RESULTS
from mfbench.data.splits import DataDescription
from mfbench.report.curves import run_curves
from mfbench.report.filled import filled_table
from mfbench.report.gallery import Picture, gallery
from mfbench.report.leaderboard import COMPARED, Row, columns, markdown, to_frame
from mfbench.report.published import beside
from mfbench.report.style import best_of_each, save
from mfbench.runs.records import Record
from mfbench.search import pareto
from mfbench.search.audit import Audit
from mfbench.search.outcome import Swept

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Comparison:
    """A leaderboard of runs on the same data and split, best first, and their sweep, if all of them belong to the same one.

    problem: why the MLflow run ids are not known, None if they are.
    """

    board: list[Row]
    swept: Swept | None
    problem: str | None = None

    def __repr__(self) -> str:
        return f"<leaderboard of {len(self.board)} runs on {self.heading}>"

    def to_frame(self) -> pd.DataFrame:
        """The leaderboard as a DataFrame, one row per run."""
        return to_frame(self.board)

    @property
    def records(self) -> list[Record]:
        """The records of the rows, in the same order."""
        return [row.record for row in self.board]

    @property
    def data(self) -> DataDescription:
        """The data and the split of all rows."""
        return self.board[0].record.data

    @property
    def split(self) -> str:
        """The split as a spec has it, in one line."""
        split = self.board[0].record.spec.split
        return in_one_line({"kind": split.kind, **split.model_dump(mode="json")})

    @property
    def heading(self) -> str:
        """The data set, the split, and the number of ratings in each part."""
        data = self.data
        parts = {"train": data.n_train, "valid": data.n_valid, "test": data.n_test}
        return f"{data.name}, {self.split}: " + ", ".join(f"{n:,} {part}" for part, n in parts.items() if n) + " ratings"

    @property
    def oracle(self) -> dict[str, float] | None:
        """The test error that no model can beat; None if it is not known."""
        return self.data.oracle_of("test")

    @property
    def audit(self) -> Audit | None:
        """The audit of the search."""
        return self.swept.audit if self.swept else None

    @cached_property
    def gallery(self) -> dict[str, Picture]:
        """The pictures of the search, see `gallery.gallery`."""
        return gallery(self.swept) if self.swept and self.swept.all_trials else {}

    @property
    def experiments(self) -> list[str]:
        """The names of the experiments, each once."""
        return sorted({record.spec.name for record in self.records})

    @property
    def order(self) -> Objective:
        """The metric that orders the rows, and its direction."""
        return self.board[0].order

    def summary(self) -> dict[str, Any]:
        """The object that `--json` prints for this board."""
        data = self.data
        return {
            "data": data.name,
            "split": self.board[0].record.spec.split.model_dump(mode="json"),
            **{name: getattr(data, name) for name in ("data_digest", "split_digest", "n_train", "n_valid", "n_test")},
            "ordered_by": self.order.name,
            "runs": [row.as_dict() for row in self.board],
            "oracle": self.oracle,
            "published": [line.as_dict() for line in beside.published(self.records)],
            "under_tuned": [gap.as_dict() for gap in beside.gaps(self.records)],
            "audit": self.audit.summary() if self.audit else None,
        }

    def write_results(self, folder: Path | None = None) -> Path:
        """Write the folder, by default `results/<experiment>/`, and return it: the leaderboard as CSV and Markdown, the
        metrics of its first run as JSON, learning curves as CSV, and a picture; for a search its audit, and with two
        objectives the Pareto front; for a small data set the filled-in matrix.

        The leaderboard has the finals and floors of a sweep, or else the plain runs. Re-running the same specs changes only
        the times in the Markdown and, on another kind of machine, last digits.
        """
        if len(self.experiments) != 1:
            raise InputError(
                f"results are written for one experiment at a time, not for {' and '.join(self.experiments)}; give one spec"
            )
        folder = folder or RESULTS / self.experiments[0]
        plain = all(record.stage == "run" for record in self.records)
        board = [replace(row, run_id=None) for row in self.board if plain or row.record.stage != "run"]
        filled = [table for row in board if (table := filled_table(row.record))]
        made = {
            "leaderboard.csv": _csv(board),
            "leaderboard.md": markdown(board, self.oracle) + beside.markdown([row.record for row in board]),
            "metrics.json": json.dumps(_metrics(board[0], self.oracle), indent=1) + "\n",
            "curves.csv": _curves(self.swept.all_trials if self.swept else self.records),
        }
        if filled:
            made["filled.csv"] = filled[0]
        else:
            (folder / "filled.csv").unlink(missing_ok=True)  # of a run that is no longer on the board
        pictures = {}
        if self.swept:
            made |= search_files(self.swept) if self.swept.is_searched else {}
            name = "sweep" if self.swept.is_searched else "mae"
            pictures = {f"{name}.png": self.gallery[name].png}
        elif plain:
            pictures = {"learning_curves.png": save(run_curves(board[0].record))}
        for name, content in {**{name: text.encode() for name, text in made.items()}, **pictures}.items():
            write_whole(folder / name, content)
        return folder


def in_one_line(tree: dict[str, Any]) -> str:
    """A part of a spec as one line of YAML, without what is null."""
    kept = {name: value for name, value in tree.items() if value is not None}
    return str(yaml.safe_dump(kept, default_flow_style=True, sort_keys=False, width=1000)).strip()


def search_files(swept: Swept) -> dict[str, str]:
    """The text files of a search by name: its audit, and with two objectives the Pareto front."""
    made = {"audit.md": swept.audit.markdown()} if swept.audit else {}
    return made | ({"pareto.csv": pareto.as_csv(swept.front)} if swept.front is not None else {})


def _csv(board: Sequence[Row]) -> str:
    lines = [row.as_dict() for row in board]
    known = {name for line in lines for name in line}
    named = [column for name in columns(board) for column in (name, f"{name}_ci95") if column in known]
    kept = [name for name in named if not name.endswith(("_seconds", "_id"))]
    return tables.as_csv([*kept, *(name for name in COMPARED if name in known), "run_key"], lines)


def _metrics(first: Row, oracle: Mapping[str, float] | None) -> dict[str, float | str]:
    """What `dvc metrics show` has a column for: the backend of the first run, its errors, and the oracle's RMSE on test."""
    fields = first.as_dict()
    parts = ("valid", "test") if first.record.valid_rmse is not None else ("train",)
    names = [f"{part}_{kind}" for part in parts for kind in ("rmse", "mae")]
    found = {name: fields.get(name) for name in [*names, "valid_rmse_ci95"]}
    found |= {"oracle_rmse": oracle["test_rmse"]} if oracle else {}
    return {"best": first.record.backend} | {name: value for name, value in found.items() if value is not None}


def _curves(records: Sequence[Record]) -> str:
    """The RMSE by epoch of each backend's best run as CSV, six digits of at most 100 epochs: small enough for git."""
    lines = []
    for record in (best_of_each(records) or {one.backend: one for one in records}).values():
        scores = record.scores
        step = math.ceil(len(scores.epoch) / 100) or 1
        for part, curve in (("train", scores.train_rmse), ("valid", scores.valid_rmse)):
            for epoch, rmse in list(zip(scores.epoch, curve or [], strict=False))[::-step][::-1]:
                if rmse is not None:
                    lines.append({"backend": record.backend, "part": part, "epoch": epoch, "rmse": f"{rmse:.6g}"})
    return tables.as_csv(["backend", "part", "epoch", "rmse"], lines)
