"""The leaderboard: runs ordered by a metric on valid, never on test; for planted data its last line is the best possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from rich.table import Table

from mfbench.core import tables
from mfbench.core.objective import VALID_RMSE, Objective, higher_is_better, title
from mfbench.report.significance import AgainstBest, against_best
from mfbench.runs.records import METRICS, Record
from mfbench.spec import FIRST, ordered

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Row:
    """One line: the record of a run, its MLflow run id, the cost of its search, and its comparison with the best.

    trials, search_seconds: of the search that selected the run. against_best: the comparison with the first row that has
    scores on the same part, None if there is none. order: by which the rows are ordered. metrics: the names of those shown
    besides RMSE and MAE.
    """

    record: Record
    run_id: str | None
    trials: int | None = None
    search_seconds: float | None = None
    against_best: AgainstBest | None = None
    order: Objective = VALID_RMSE
    metrics: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The row by name, as `--json` and CSV have it.

        If a metric is a mean over repeats, `valid_rmse_ci95` and the like are half the width of its 95 % confidence
        interval, `repeats` is the number of repeats behind the train and valid metrics, `finals` that behind the test ones.
        """
        record = self.record
        named: dict[str, Any] = {
            "backend": record.backend,
            "run_key": record.run_key,
            "run_id": self.run_id,
            "outcome": record.outcome,
            "trials": self.trials,
            **dict.fromkeys(FIRST),
            **record.hyper,
            "epochs": record.epochs,
            **{name: record.metric(name) for name in (*METRICS, *self.metrics)},
            "train_seconds": record.clocks.train_seconds,
            "search_seconds": self.search_seconds,
        }
        if record.intervals:
            named |= {"repeats": _most(record, "train_", "valid_"), "finals": _most(record, "test_")}
            named |= {f"{name}_ci95": interval.half_width for name, interval in record.intervals.items()}
        return named | (asdict(self.against_best) if self.against_best else {})

    @property
    def marked(self) -> str | None:
        """The part (`test`, or `valid` for a plain run) on which the run is indistinguishable from the best; else None."""
        if self.against_best is None or self.against_best.is_distinguishable:
            return None
        return "valid" if self.record.test_rmse is None else "test"


AFTER_HYPER = {
    "epochs": "epochs", "train_rmse": "train RMSE", "train_mae": "train MAE", "valid_rmse": "valid RMSE",
    "valid_mae": "valid MAE", "test_rmse": "test RMSE", "test_mae": "test MAE", "repeats": "repeats", "finals": "finals",
    "trials": "trials", "search_seconds": "search s", "train_seconds": "train s", "outcome": "outcome", "run_id": "run",
}  # fmt: skip

COMPARED = tuple(one.name for one in fields(AgainstBest))
"""The further fields in `--json` and CSV of a row that was compared with the best."""


def columns(board: Sequence[Row]) -> dict[str, str]:
    """The columns of a board and their headings, with all hyperparameters that any row has: K, alpha and beta first."""
    hyper = ordered({*FIRST, *(name for row in board for name in row.record.hyper)})
    named = {"backend": "backend", **{name: name for name in hyper}}
    for name, heading in AFTER_HYPER.items():
        named |= {name: heading} | ({metric: title(metric) for metric in board[0].metrics} if name == "test_mae" else {})
    return named


MARK = "="
MEANING = {
    "valid": "valid RMSE statistically indistinguishable from that of the first plain run",
    "test": "test RMSE statistically indistinguishable from that of the first tested run",
}


def order_of(records: Sequence[Record], metrics: Sequence[str] = ()) -> Objective:
    """The metric that orders a board: the first of `metrics` that is on valid and of which a direction is better.

    Without one it is the objective of the sweeps, if it is the same for all, else the valid RMSE.
    """
    for name in metrics:
        part, _, metric = name.partition("_")
        own = [record.own_metrics[metric].higher_is_better for record in records if metric in record.own_metrics]
        direction = own[0] if own else higher_is_better(metric)
        if part == "valid" and direction is not None:
            return Objective(name=name, higher_is_better=direction)
    objectives = {record.objective for record in records if record.stage != "run"}
    return objectives.pop() if len(objectives) == 1 else VALID_RMSE


def rows(
    records: Sequence[Record],
    trials: Mapping[str, Sequence[Record]],
    run_ids: Mapping[str, str],
    metrics: Sequence[str] = (),
) -> list[Row]:
    """The rows of these runs, best first by `order_of` (by train RMSE if there is no valid part).

    records: with repeats averaged, see `repeats.averaged`. trials: those of the search, by backend. run_ids: MLflow's, by
    run key. metrics: those to show besides RMSE and MAE.
    """
    order = order_of(records, metrics)
    more = tuple(name for name in dict.fromkeys((*metrics, order.name)) if name not in METRICS)

    def row(record: Record) -> Row:
        searched = trials.get(record.backend) if record.stage != "run" else None
        seconds = sum(trial.clocks.search_seconds for trial in searched or ())
        return Row(
            record,
            run_ids.get(record.run_key),
            len(searched) if searched else None,
            seconds or None,
            found.get(record.run_key),
            order,
            more,
        )

    def place(record: Record) -> tuple[bool, float, str]:
        cost = order.cost(record.metric(order.name))
        if order == VALID_RMSE and record.valid_rmse is None:
            cost = order.cost(record.train_rmse)
        return record.outcome != "completed", cost, record.run_key

    ranked = sorted(records, key=place)
    found = against_best(ranked)
    return [row(record) for record in ranked]


def _most(record: Record, *parts: str) -> int | None:
    """The number of repeats that a metric of these parts is the mean of; None if none of them is a mean."""
    return max((one.n for name, one in record.intervals.items() if name.startswith(parts)), default=None)


def cells(board: Sequence[Row], oracle: Mapping[str, float] | None) -> tuple[list[str], list[list[str]]]:
    """Header and body as text, without columns that would be empty or say nothing."""
    lines: list[dict[str, Any]] = [{**row.as_dict(), "marked": f"{row.marked}_rmse"} for row in board]
    if oracle:
        lines.append({"backend": "oracle", **oracle})
    dull = {"outcome"} if all(row.record.outcome == "completed" for row in board) else set()
    if any(row.record.valid_rmse is not None for row in board):  # else the errors on train are the only ones
        dull |= {"train_rmse", "train_mae"}
    named = columns(board)
    shown = [name for name in named if name not in dull and any(line.get(name) is not None for line in lines)]
    return [named[name] for name in shown], [[_cell(name, line) for name in shown] for line in lines]


def _cell(name: str, line: Mapping[str, Any]) -> str:
    value, half_width = line.get(name), line.get(f"{name}_ci95")
    if value is None:
        return "–"
    if name.startswith(("train_", "valid_", "test_")) and isinstance(value, float) and not name.endswith("_seconds"):
        text = f"{value:.4f}" if half_width is None else f"{value:.4f} ± {half_width:.4f}"
        return f"{text} {MARK}" if name == line.get("marked") else text
    if name.endswith("_seconds"):
        return f"{value:.2f}"
    if name == "run_id":
        return str(value)[:8]
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def note(board: Sequence[Row]) -> str | None:
    """What orders the board if not the valid RMSE, and `legend`, as far as they have to be said; else None."""
    order = board[0].order if board else VALID_RMSE
    said = [f"ordered by {order.name}{', highest first' if order.higher_is_better else ''}"] if order != VALID_RMSE else []
    return "; ".join(filter(None, (*said, legend(board)))) or None


def legend(board: Sequence[Row]) -> str | None:
    """What the mark `=` means, and which differences the test part is too small for, as far as they have to be said."""
    meaning = "; ".join(text for part, text in MEANING.items() if any(row.marked == part for row in board))
    said = [f"{MARK}: {meaning} (paired bootstrap over users; Wilcoxon with Holm's correction)"] if meaning else []
    tested = [row.record.data for row in board if row.record.test_rmse is not None]
    small = tested[0].too_small if len(tested) > 1 and len({data.test_digest for data in tested}) == 1 else None
    return "; ".join(filter(None, (*said, small))) or None


def to_frame(board: Sequence[Row]) -> pd.DataFrame:
    """The rows as a DataFrame, best first, with all fields of `Row.as_dict`."""
    import pandas as pd  # takes a third of a second to import

    return pd.DataFrame([row.as_dict() for row in board])


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
