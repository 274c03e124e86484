"""The report of an experiment: the files in `results/`, and one self-contained HTML page."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from mfbench.core.files import write_whole
from mfbench.report.curves import residual_picture, run_curves
from mfbench.report.leaderboard import cells, note
from mfbench.report.results import Comparison, in_one_line
from mfbench.report.style import save
from mfbench.runs.record_files import later_repeats
from mfbench.runs.records import Record, RunName

TEMPLATE = Path(__file__).with_name("page.html.jinja")


def write_report(comparison: Comparison, folder: Path | None = None) -> Path:
    """Write the folder of results (see `Comparison.write_results`) with the page `report.html`, and return its path."""
    path = comparison.write_results(folder) / "report.html"
    write_whole(path, page(comparison).encode())
    return path


def page(comparison: Comparison) -> str:
    """The report of one experiment as HTML, with style and pictures inline: no scripts, no external files."""
    from jinja2 import Environment

    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE.read_text())
    first = comparison.board[0].record
    return template.render(
        name=first.spec.name,
        summary=_summary(comparison),
        board=cells(comparison.board, comparison.oracle),
        oracle=comparison.oracle,
        intervals=any(record.intervals for record in comparison.records),
        mark=note(comparison.board),
        pictures=_pictures(comparison),
        audit=comparison.audit,
        data=_data(first),
        commands=[(run.title, f"mfbench reproduce {run.run_key}") for one in comparison.records for run in _made_by(one)],
        environment=_lines(first.environment.model_dump()),
        spec=yaml.safe_dump(first.spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )


def _summary(comparison: Comparison) -> str:
    best, data = comparison.board[0].record, comparison.board[0].record.data
    judged = [("valid", best.valid_rmse), ("test", best.test_rmse)]
    scores = ", ".join(f"{part} RMSE {value:.4f}" for part, value in judged if value is not None) or "no held-out part"
    of = f"of {len(comparison.board)} runs " if len(comparison.board) > 1 else ""
    return f"{data.name}: {data.n_users:,} users, {data.n_items:,} items. Best {of}on valid: {best.title}, {scores}."


def _pictures(comparison: Comparison) -> list[dict[str, str]]:
    drawn = [(picture.title, picture.says, picture.png) for picture in comparison.gallery.values()]
    if not drawn:
        drawn = [(f"Learning curves of {one.title}", "RMSE by epoch.", save(run_curves(one))) for one in comparison.records]
    for one in comparison.records:
        if (errs := residual_picture(one)) is not None:
            says = "By rating value, and by how often the item was rated in training."
            drawn.append((f"Errors of {one.title} by group", says, save(errs)))
    return [{"title": title, "says": says, "png": base64.b64encode(png).decode()} for title, says, png in drawn]


def _made_by(record: Record) -> list[RunName]:
    """The runs behind a line of the leaderboard: its repeats, and for a final run those of its trial (the valid scores)."""
    runs: list[RunName] = [record]
    if record.best_trial is not None:
        runs.append(RunName(study=record.study, backend=record.backend, number=record.best_trial, stage="trial"))
    return [one for run in runs for one in (run, *later_repeats(run))]


def _data(record: Record) -> list[tuple[str, str]]:
    split = in_one_line(record.spec.split.model_dump(mode="json"))
    return [*_lines(record.data.model_dump(exclude={"oracle"})), ("split", split)]


def _lines(tree: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values as text, without those that are None."""
    return [(name, _as_text(value)) for name, value in tree.items() if value is not None and value != ""]


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_as_text(inner)}" for name, inner in value.items() if inner is not None)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
