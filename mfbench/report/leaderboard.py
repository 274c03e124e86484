"""The leaderboard: runs ordered by valid, never by test; its last line is what no model can beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from rich.table import Table

from mfbench.core import tables
from mfbench.report.significance import AgainstBest, against_best
from mfbench.runs.records import Interval, Record


@dataclass(frozen=True)
class Row:
    """One line: a run, with the seconds that its search took beside those of its own training.

    intervals has, by name, those of the metrics that are means: over so many repeats those of train and valid, over so
    many final runs those of test. Both numbers are None where there is nothing but the one run. against_best is its
    comparison with the first row that is judged on the same part, None where there is none.
    """

    backend: str
    run_key: str
    outcome: str
    trials: int | None
    K: int | None
    alpha: float | None
    beta: float | None
    epochs: int
    train_rmse: float | None
    train_mae: float | None
    valid_rmse: float | None
    valid_mae: float | None
    test_rmse: float | None
    test_mae: float | None
    train_seconds: float
    search_seconds: float | None
    run_id: str | None
    repeats: int | None = None
    finals: int | None = None
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    against_best: AgainstBest | None = None

    def told(self) -> dict[str, Any]:
        """By name what `--json` and CSV have of it; `valid_rmse_ci95` is half the 95 % interval of a mean `valid_rmse`."""
        told = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("intervals", "against_best")}
        if not self.intervals:
            del told["repeats"], told["finals"]
        told |= {f"{name}_ci95": interval.half_width for name, interval in self.intervals.items()}
        return told | (asdict(self.against_best) if self.against_best else {})

    @property
    def marked(self) -> str | None:
        """The part, test where it was tested, else valid, whose RMSE cannot be told from the best; None where it can."""
        if self.against_best is None or self.against_best.is_distinguishable:
            return None
        return "valid" if self.test_rmse is None else "test"


COLUMNS = {
    "backend": "backend", "K": "K", "alpha": "alpha", "beta": "beta", "epochs": "epochs", "train_rmse": "train RMSE",
    "train_mae": "train MAE", "valid_rmse": "valid RMSE", "valid_mae": "valid MAE", "test_rmse": "test RMSE",
    "test_mae": "test MAE", "repeats": "repeats", "finals": "finals", "trials": "trials", "search_seconds": "search s",
    "train_seconds": "train s", "outcome": "outcome", "run_id": "run",
}  # fmt: skip

COMPARED = tuple(one.name for one in fields(AgainstBest))
"""What `--json` and CSV have besides of a row that was compared with the best."""

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
        clocks = [trial.clocks for trial in searched or ()]
        return Row(
            backend=record.backend,
            run_key=record.run_key,
            outcome=record.outcome,
            trials=len(searched) if searched else None,
            K=record.K,
            alpha=record.alpha,
            beta=record.beta,
            epochs=record.epochs,
            train_rmse=record.train_rmse,
            train_mae=record.train_mae,
            valid_rmse=record.valid_rmse,
            valid_mae=record.valid_mae,
            test_rmse=record.test_rmse,
            test_mae=record.test_mae,
            train_seconds=record.clocks.train_seconds,
            search_seconds=sum(c.compile_seconds + c.train_seconds + c.evaluate_seconds for c in clocks) or None,
            run_id=run_ids.get(record.run_key),
            repeats=_most(record, "train_", "valid_"),
            finals=_most(record, "test_"),
            intervals=record.intervals,
            against_best=found.get(record.run_key),
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
    dull = {"outcome"} if all(row.outcome == "completed" for row in board) else set()
    if any(row.valid_rmse is not None for row in board):  # else the errors on train are all there is
        dull |= {"train_rmse", "train_mae"}
    shown = [name for name in COLUMNS if name not in dull and any(line.get(name) is not None for line in lines)]
    return [COLUMNS[name] for name in shown], [[_cell(name, line) for name in shown] for line in lines]


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
