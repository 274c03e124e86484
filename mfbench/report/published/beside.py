"""Runs beside the published results on their data and split, and those that are worse than their class of models can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from mfbench.core import tables
from mfbench.report.published.registry import Line, backends_of, every_line
from mfbench.runs.records import Record


@dataclass(frozen=True)
class Gap:
    """A run that is worse than a published result of its class of models. noise: what the draw of the split may explain."""

    record: Record
    line: Line
    value: float
    noise: float

    @property
    def says(self) -> str:
        """The finding in one sentence."""
        line, record = self.line, self.record
        what = f"{line.part} {line.metric.upper()} {self.value:.4f}"
        sentence = f"{record.title} is under-tuned: its {what} is {self.value - line.value:.4f} worse than the published"
        sentence += f" {line.shown} of {_described(line)} ({line.source})"
        if line.K is not None and record.K is not None and record.K < line.K:
            sentence += f"; it has fewer factors, {record.K}"
        return sentence

    def as_dict(self) -> dict[str, Any]:
        """The finding as `--json` has it."""
        return {
            "run_key": self.record.run_key,
            "metric": f"{self.line.part}_{self.line.metric}",
            "value": self.value,
            "published": self.line.value,
            "difference": self.value - self.line.value,
            "noise": self.noise,
            "model": self.line.model,
            "source": self.line.source,
            "says": self.says,
        }


def published(records: Sequence[Record]) -> list[Line]:
    """The published results on the data and the split of these runs, best first, those of one metric together."""
    found = [line for line in every_line() if any(line.is_of(record) for record in records)]
    return sorted(found, key=lambda line: (line.metric != "rmse", line.value))


def gaps(records: Sequence[Record]) -> list[Gap]:
    """The runs that are worse than a published result of their class of models, at most one finding for each, by RMSE."""
    return [gap for record in records if (gap := _gap(record)) is not None]


def _gap(record: Record) -> Gap | None:
    """The finding on one run.

    It is held against the best result of its class with no more factors than it has, or without one against the one with
    the fewest; against one of an unknown number only if there is no other. Another draw of the split explains a difference
    of up to 1.96 RMSE / √n, n the ratings of the test part: for normal errors, the RMSE of one part has the standard
    deviation RMSE / √(2 n), and the difference of two √2 times that.
    """
    same = [line for line in every_line() if line.metric == "rmse" and line.is_of(record)]
    same = [line for line in same if record.backend in backends_of(line.model_class)]
    if not same or record.outcome != "completed":
        return None
    known = {line.K for line in same if line.K is not None}
    has = record.K or 0
    most = max((K for K in known if has >= K), default=min(known, default=None))
    line = min((line for line in same if most is None or (line.K or most + 1) <= most), key=lambda one: one.value)
    value = record.metric(f"{line.part}_{line.metric}")
    n = record.data.n_test if line.part == "test" else None  # a cross-validation predicts all ratings, whatever its draw
    noise = 1.96 * line.value / math.sqrt(n) if n and not line.same_cells else 0.0
    if value is None or value - line.value <= noise + line.rounding:
        return None
    return Gap(record, line, value, noise)


def _described(line: Line) -> str:
    return line.model if line.K is None else f"{line.model}, K = {line.K}"


def cells(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Header and body of a table of published results on one data set and split."""
    header = ["published", "metric", "value", "source", "note"]
    return header, [[_described(line), _metric(line), line.shown, line.source, line.caveat or "–"] for line in lines]


def shown(records: Sequence[Record]) -> list[Table | str]:
    """What a terminal shows below a board: a table of the published results, and a sentence for each run that is worse."""
    lines = published(records)
    drawn = [listed("published on this data and split", lines, everything=False)] if lines else []
    return [*drawn, *(gap.says for gap in gaps(records))]


def listed(title: str, lines: Sequence[Line], everything: bool = True) -> Table:
    """A table for a terminal, with numbers for the sources, which are below. everything: with data set and split too."""
    numbers = {about: k for k, about in enumerate(dict.fromkeys(map(_about, lines)), 1)}
    header = ["model", "metric", "value", "source"]
    body = [[_described(one), _metric(one), one.shown, f"[{numbers[_about(one)]}]"] for one in lines]
    if everything:
        header = ["data", "split", *header]
        body = [[one.data, one.split, *row] for one, row in zip(lines, body, strict=True)]
    table = tables.drawn(title, header, body)
    table.caption = "\n".join(f"[{k}] {about}" for about, k in numbers.items())
    table.caption_justify = "left"
    return table


def _about(line: Line) -> str:
    notes = [line.source, line.caveat, "no split here is the same" if line.matches is None else None]
    return "; ".join(note for note in notes if note)


def _metric(line: Line) -> str:
    return f"{line.part} {line.metric.upper()}"


def markdown(records: Sequence[Record]) -> str:
    """The published results beside these runs as Markdown, and the runs that are worse; empty if there are none."""
    lines = published(records)
    if not lines:
        return ""
    found = "".join(f"- {gap.says}\n" for gap in gaps(records))
    return f"\nPublished results on this data and split:\n\n{tables.markdown(*cells(lines))}" + (f"\n{found}" if found else "")
