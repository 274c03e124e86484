"""Text tables, for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from mfbench.core.inert import in_markdown, in_spreadsheet, visible

Lines = Sequence[Sequence[str]]


def drawn(title: str, header: Sequence[str], body: Lines, dim_last: bool = False) -> Table:
    """A table for the terminal: first column left-aligned, the others right-aligned, no cell wrapped.

    Cells are text, whatever is in a title or an id: no markup of rich's, no control characters.
    dim_last: show the last row dimmed, below a line.
    """
    title, header, body = visible(title), list(map(visible, header)), [list(map(visible, line)) for line in body]
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
    return csv_of(columns, [[line.get(name) for name in columns] for line in lines])


def csv_of(header: Sequence[Any], body: Sequence[Sequence[Any]]) -> str:
    """A table as CSV. A `'` stands before a text that a spreadsheet would compute (see `inert.in_spreadsheet`)."""
    return "".join(",".join(map(_cell, line)) + "\n" for line in [header, *body])


def _cell(value: object) -> str:
    """A value between quotes if it has any separator of CSV in it, also those of other countries' spreadsheets."""
    text = in_spreadsheet(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',;\t"\r\n') else text


def markdown(header: Sequence[str], body: Lines) -> str:
    """A Markdown table.

    >>> print(markdown(["backend", "K"], [["numba", "32"]]), end="")
    | backend | K |
    | --- | --- |
    | numba | 32 |
    """
    lines = [map(in_markdown, header), ["---"] * len(header), *(map(in_markdown, line) for line in body)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
