"""Text tables, for a terminal and as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from mfbench.core.errors import without_controls

Lines = Sequence[Sequence[str]]


def drawn(title: str, header: Sequence[str], body: Lines, dim_last: bool = False) -> Table:
    """A table for the terminal: first column left-aligned, the others right-aligned, no cell wrapped.

    Cells are text, whatever is in a title or an id: no markup of rich's, no control characters.
    dim_last: show the last row dimmed, below a line.
    """
    title, *header = map(without_controls, (title, *header))
    body = [[without_controls(cell) for cell in line] for line in body]
    table = Table(title=Text(title, "table.title"), title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    for k, name in enumerate(header):
        widest = max(len(line[k]) for line in [header, *body])
        table.add_column(Text(name), justify="right" if k else "left", min_width=widest)
    for k, line in enumerate(body):
        last = dim_last and k == len(body) - 1
        table.add_row(*map(Text, line), style="dim" if last else None, end_section=dim_last and k == len(body) - 2)
    return table


def as_csv(columns: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> str:
    """These columns as CSV, every number to the last bit; what a line lacks is empty, what else it has is left out."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def markdown(header: Sequence[str], body: Lines) -> str:
    """A Markdown table.

    >>> print(markdown(["backend", "K"], [["numba", "32"]]), end="")
    | backend | K |
    | --- | --- |
    | numba | 32 |
    """
    return "".join("| " + " | ".join(line) + " |\n" for line in [header, ["---"] * len(header), *body])
