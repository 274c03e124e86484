"""The leaderboard: runs ordered by valid, never by test; its last line is what no model can beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from rich.table import Table

from mfbench.core import tables
from mfbench.report.significance import AgainstBest, against_best
from mfbench.runs.records import METRICS, Record
from mfbench.spec import FIRST, ordered


@dataclass(frozen=True)
class Row:
    """One line: the record of a run, the seconds that its search took, and how it compares.

    trials and search_seconds are those of the search that the run was chosen by. against_best is its comparison with the
    first row that is judged on the same part, None where there is none.
    """

    record: Record
    run_id: str | None
    trials: int | None = None
    search_seconds: float | None = None
    against_best: AgainstBest | None = None

    def told(self) -> dict[str, Any]:
        """By name what `--json` and CSV have of it; `valid_rmse_ci95` is half the 95 % interval of a mean `valid_rmse`.

        repeats and finals: over how many repeats the metrics of train and valid, and of test, are means.
        """
        record = self.record
        told: dict[str, Any] = {
            "backend": record.backend,
            "run_key": record.run_key,
            "run_id": self.run_id,
            "outcome": record.outcome,
            "trials": self.trials,
            **dict.fromkeys(FIRST),
            **record.hyper,
            **{name: getattr(record, name) for name in ("epochs", *METRICS)},
            "train_seconds": record.clocks.train_seconds,
            "search_seconds": self.search_seconds,
        }
        if record.intervals:
            told |= {"repeats": _most(record, "train_", "valid_"), "finals": _most(record, "test_")}
            told |= {f"{name}_ci95": interval.half_width for name, interval in record.intervals.items()}
        return told | (asdict(self.against_best) if self.against_best else {})

    @property
    def marked(self) -> str | None:
        """The part, test where it was tested, else valid, whose RMSE cannot be told from the best; None where it can."""
        if self.against_best is None or self.against_best.is_distinguishable:
            return None
        return "valid" if self.record.test_rmse is None else "test"


AFTER_HYPER = {
    "epochs": "epochs", "train_rmse": "train RMSE", "train_mae": "train MAE", "valid_rmse": "valid RMSE",
    "valid_mae": "valid MAE", "test_rmse": "test RMSE", "test_mae": "test MAE", "repeats": "repeats", "finals": "finals",
    "trials": "trials", "search_seconds": "search s", "train_seconds": "train s", "outcome": "outcome", "run_id": "run",
}  # fmt: skip

COMPARED = tuple(one.name for one in fields(AgainstBest))
"""What `--json` and CSV have besides of a row that was compared with the best."""


def columns(board: Sequence[Row]) -> dict[str, str]:
    """The columns of a board and what stands above each: the hyperparameters that any row has, K, alpha and beta first."""
    hyper = ordered({*FIRST, *(name for row in board for name in row.record.hyper)})
    return {"backend": "backend", **{name: name for name in hyper}, **AFTER_HYPER}


MARK = "="
SAID = {
    "valid": "on valid not distinguishable from the first plain run",
    "test": "on test not distinguishable from the first tested",
}


def rows(records: Sequence[Record], trials: Mapping[str, Sequence[Record]], run_ids: Mapping[str, str]) -> list[Row]:
    """The rows of these runs, best valid RMSE first (train RMSE where there is no valid part); trials are by backend.

    What has repeats is averaged already, see `repeats.averaged`. search_seconds is the time that the trials took in all:
    compiling, training and scoring.
    """

    def row(record: Record) -> Row:
        searched = trials.get(record.backend) if record.stage != "run" else None
        seconds = sum(trial.clocks.search_seconds for trial in searched or ())
        return Row(
            record,
            run_ids.get(record.run_key),
            len(searched) if searched else None,
            seconds or None,
            found.get(record.run_key),
        )

    def place(record: Record) -> tuple[bool, float, str]:
        value = record.train_rmse if record.valid_rmse is None else record.valid_rmse
        return record.outcome != "completed", float("inf") if value is None else value, record.run_key

    ranked = sorted(records, key=place)
    found = against_best(ranked)
    return [row(record) for record in ranked]


def _most(record: Record, *parts: str) -> int | None:
    """Over how many repeats a metric of these parts is the mean; None where none is a mean."""
    return max((one.n for name, one in record.intervals.items() if name.startswith(parts)), default=None)


def cells(board: Sequence[Row], oracle: Mapping[str, float] | None) -> tuple[list[str], list[list[str]]]:
    """Header and body as text; columns that say nothing are left out."""
    lines: list[dict[str, Any]] = [{**row.told(), "marked": f"{row.marked}_rmse"} for row in board]
    if oracle:
        lines.append({"backend": "oracle", **oracle})
    dull = {"outcome"} if all(row.record.outcome == "completed" for row in board) else set()
    if any(row.record.valid_rmse is not None for row in board):  # else the errors on train are all there is
        dull |= {"train_rmse", "train_mae"}
    named = columns(board)
    shown = [name for name in named if name not in dull and any(line.get(name) is not None for line in lines)]
    return [named[name] for name in shown], [[_cell(name, line) for name in shown] for line in lines]


def _cell(name: str, line: Mapping[str, Any]) -> str:
    value, half_width = line.get(name), line.get(f"{name}_ci95")
    if value is None:
        return "–"
    if name.endswith(("_rmse", "_mae")):
        text = f"{value:.4f}" if half_width is None else f"{value:.4f} ± {half_width:.4f}"
        return f"{text} {MARK}" if name == line.get("marked") else text
    if name.endswith("_seconds"):
        return f"{value:.2f}"
    if name == "run_id":
        return str(value)[:8]
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def note(board: Sequence[Row]) -> str | None:
    """What the mark says, of the parts on which a row has it; None where no row has."""
    said = "; ".join(says for part, says in SAID.items() if any(row.marked == part for row in board))
    return f"{MARK}: {said} (paired bootstrap over users; Wilcoxon with Holm's correction)" if said else None


def table(title: str, board: Sequence[Row], oracle: Mapping[str, float] | None = None) -> Table:
    """The leaderboard for a terminal."""
    drawn = tables.drawn(title, *cells(board, oracle), dim_last=oracle is not None)
    if said := note(board):
        drawn.caption, drawn.caption_justify = said, "left"
    return drawn


def markdown(board: Sequence[Row], oracle: Mapping[str, float] | None = None) -> str:
    """The leaderboard as a Markdown table."""
    said = note(board)
    return tables.markdown(*cells(board, oracle)) + (f"\n{said}\n" if said else "")
