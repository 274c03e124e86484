"""The table of a suite: data sets across, backends down; for a terminal, as Markdown, LaTeX and CSV."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from rich.text import Text

from mfbench.core import tables
from mfbench.core.inert import sentence_in_markdown, visible_lines
from mfbench.report.gallery import Picture
from mfbench.report.leaderboard import COMPARED
from mfbench.report.suites.cells import Cell
from mfbench.report.suites.pictures import pictures
from mfbench.report.suites.ranks import Ranks, ranks

if TYPE_CHECKING:
    import pandas as pd

FIRST, SAME = "*", "="
COLUMNS = (
    "dataset", "backend", "seeds", "test_rmse", "test_rmse_low", "test_rmse_high", "test_mae", "valid_rmse", "first_on_valid",
    "indistinguishable", *COMPARED, "run_keys", "why",
)  # fmt: skip
SECONDS = ("dataset", "backend", "search_seconds", "train_seconds")


@dataclass(frozen=True)
class SuiteTable:
    """The cells of a suite, and what is shown of them. oracle: the test RMSE that no model can beat, where it is known."""

    name: str
    datasets: list[str]
    cells: list[Cell]
    oracle: dict[str, float]

    @cached_property
    def backends(self) -> list[str]:
        """The rows in their order: by the mean rank on valid, never by a score on test."""
        from scipy.stats import rankdata  # takes half a second to import

        names = list(dict.fromkeys(cell.backend for cell in self.cells))
        cost = {(cell.dataset, cell.backend): cell.cost for cell in self.cells}
        placed = rankdata([[cost[dataset, name] for name in names] for dataset in self.datasets], axis=1).mean(axis=0)
        return [names[k] for k in np.argsort(placed, kind="stable")]

    @cached_property
    def ranks(self) -> Ranks | None:
        """Average ranks by test RMSE; None with fewer than two data sets or backends."""
        return ranks(self.cells, self.datasets, self.backends)

    @cached_property
    def pictures(self) -> dict[str, Picture]:
        """The pictures by file name without suffix."""
        return pictures(self.cells, self.ranks)

    def texts(self) -> tuple[list[str], list[list[str]]]:
        """Header and body, a row for each backend and if it is known one for the oracle; names are not escaped."""
        by = {(cell.dataset, cell.backend): cell for cell in self.cells}
        mean = self.ranks.mean if self.ranks else {}
        seconds = {name: sum(by[dataset, name].search_seconds for dataset in self.datasets) for name in self.backends}
        header = ["backend", *self.datasets, *(["mean rank"] if mean else []), "search s"]
        body = [
            [
                name,
                *(_text(by[dataset, name]) for dataset in self.datasets),
                *([f"{mean[name]:.2f}" if name in mean else "–"] if mean else []),
                f"{seconds[name]:.1f}",
            ]
            for name in self.backends
        ]
        if self.oracle:
            best = [f"{self.oracle[dataset]:.4f}" if dataset in self.oracle else "–" for dataset in self.datasets]
            body.append(["oracle", *best, *(["–"] if mean else []), "–"])
        return header, body

    @property
    def notes(self) -> list[str]:
        """What a reader of the table has to know, a sentence each."""
        seeds = max(len(cell.records) for cell in self.cells)
        width = (
            f"of the mean over {seeds} seeds"
            if seeds > 1
            else "over the users of test, or over folds and repeats if there are"
        )
        notes = [f"test RMSE; ± is half the width of its 95 % interval, {width}; the rows are ordered by their ranks on valid"]
        notes.append(f"{FIRST}: the best on valid of its column")
        if any(SAME in _text(cell) for cell in self.cells):
            notes[-1] += (
                f"; {SAME}: its test RMSE is statistically indistinguishable from that (paired bootstrap over users;"
                " Wilcoxon with Holm's correction)"
            )
        if self.ranks:
            notes.append(self.ranks.sentence)
        if self.oracle:
            notes.append("oracle: of generated ratings, the error that no model can beat")
        return notes + [f"{cell.backend} has no result on {cell.dataset}: {cell.why}" for cell in self.cells if cell.why]

    def drawn(self) -> Table:
        """The table for a terminal."""
        header, body = self.texts()
        table = tables.drawn(self.name, header, body, bool(self.oracle))
        table.caption, table.caption_justify = Text(visible_lines("\n".join(self.notes))), "left"
        return table

    def markdown(self) -> str:
        """The table as Markdown."""
        header, body = self.texts()
        return tables.markdown(header, body) + "".join(f"\n{sentence_in_markdown(note)}\n" for note in self.notes)

    def latex(self) -> str:
        """The table as a LaTeX `tabular`, which needs the package booktabs."""
        import pandas as pd

        header, body = self.texts()
        frame = pd.DataFrame([[_in_latex(cell) for cell in line[1:]] for line in body], [line[0] for line in body], header[1:])
        styled = frame.style.format_index(escape="latex", axis=0).format_index(escape="latex", axis=1)
        made = styled.to_latex(hrules=True, column_format="l" + "r" * (len(header) - 1))
        return "".join(f"% {one}\n" for note in self.notes for one in note.splitlines()) + made.replace(
            "\\toprule\n &", "\\toprule\nbackend &", 1
        )

    def csv(self) -> str:
        """A line for each cell as CSV, without seconds, so that the same suite gives the same bytes."""
        lines = [{**cell.as_dict(), "rank": self._rank(cell)} for cell in self.cells]
        return tables.as_csv([*COLUMNS[:4], "rank", *COLUMNS[4:]], lines)

    def seconds_csv(self) -> str:
        """The seconds of each cell as CSV."""
        return tables.as_csv(SECONDS, [cell.as_dict() for cell in self.cells])

    def to_frame(self) -> pd.DataFrame:
        """A row for each cell, with all fields of `Cell.as_dict`."""
        import pandas as pd

        return pd.DataFrame([cell.as_dict() for cell in self.cells])

    def _rank(self, cell: Cell) -> float | None:
        """The rank of the cell's backend on its data set."""
        costs = [other.rmse for other in self.cells if other.dataset == cell.dataset and other.rmse is not None]
        if cell.rmse is None:
            return None
        return sum(one < cell.rmse for one in costs) + (sum(one == cell.rmse for one in costs) + 1) / 2


def _text(cell: Cell) -> str:
    if cell.rmse is None:
        return "–"
    text = f"{cell.rmse:.4f}" + (
        f" ± {cell.half_width:.4f}" if cell.half_width is not None and math.isfinite(cell.half_width) else ""
    )
    if cell.is_first:
        return f"{text} {FIRST}"
    return f"{text} {SAME}" if cell.against_first and not cell.against_first.is_distinguishable else text


def _in_latex(cell: str) -> str:
    """A cell of numbers and marks."""
    return re.sub(r" ([*=])$", r"\\rlap{$^{\1}$}", cell.replace("±", r"$\pm$").replace("–", "--"))
