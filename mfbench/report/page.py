"""The report of an experiment: the files in `results/`, and one self-contained HTML page."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mfbench.core.files import write_whole
from mfbench.core.inert import in_shell, visible_lines
from mfbench.report.curves import residual_picture, run_curves
from mfbench.report.leaderboard import cells, legend
from mfbench.report.published import beside
from mfbench.report.results import Comparison, in_one_line
from mfbench.report.style import hyperparameters, save
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

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_as_shown)
    template = environment.from_string(TEMPLATE.read_text())
    first = comparison.board[0].record
    return template.render(
        name=first.spec.name,
        summary=_summary(comparison),
        board=cells(comparison.board, comparison.oracle),
        notes=_notes(comparison),
        ranking=_ranking(comparison),
        published=beside.cells(lines) if (lines := beside.published(comparison.records)) else None,
        under_tuned=[gap.says for gap in beside.gaps(comparison.records)],
        pictures=_pictures(comparison),
        audit=comparison.audit if comparison.swept and comparison.swept.is_searched else None,
        data=_data(first),
        commands=[(run.title, _again(run)) for one in comparison.records for run in _made_by(one)],
        environment=lines_of(first.environment.model_dump()),
        spec=yaml.safe_dump(first.spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )


def _again(run: RunName) -> str:
    return f"mfbench reproduce {in_shell(run.run_key)}"


def _as_shown(value: Any) -> Any:
    """Text with what would change its direction made visible; the HTML in it is escaped by jinja, whose own stays."""
    return visible_lines(value) if type(value) is str else value


def _summary(comparison: Comparison) -> str:
    best, data = comparison.board[0].record, comparison.board[0].record.data
    judged = [("valid", best.valid_rmse), ("test", best.test_rmse)]
    scores = ", ".join(f"{part} RMSE {value:.4f}" for part, value in judged if value is not None) or "no held-out part"
    order = comparison.order
    if (value := best.metric(order.name)) is not None and order.name != "valid_rmse":
        scores = f"{order.title} {value:.4f}, {scores}"
    of = f"of {len(comparison.board)} runs " if len(comparison.board) > 1 else ""
    return f"{data.name}: {data.n_users:,} users, {data.n_items:,} items. Best {of}on valid: {best.title}, {scores}."


def _notes(comparison: Comparison) -> list[str]:
    """What a reader of the leaderboard has to know, a sentence each."""
    order = comparison.order
    notes = [f"Ordered by {order.title}{', highest first' if order.higher_is_better else ''}, never by a score on test."]
    if comparison.oracle:
        notes.append("The ratings are planted (generated), so the best possible error is known: oracle.")
    if any(record.intervals for record in comparison.records):
        notes.append("± is half the width of the 95 % confidence interval of a mean over repeats.")
    mark = legend(comparison.board)
    return [*notes, f"{mark[0].upper()}{mark[1:]}."] if mark else notes


def _ranking(comparison: Comparison) -> tuple[list[str], list[list[str]]] | None:
    """Header and body of the second board: the ranking metrics of the longest lists, and the user's own metrics."""
    first = comparison.records[0]
    part, k = "valid" if first.stage == "run" else "test", max(first.spec.evaluation.k, default=None)
    names = [f"{part}_{name}_{k}" for name in ("ndcg", "map", "mrr", "recall", "precision", "hit_rate", "coverage")]
    names = [name for name in (*names, *(f"{part}_{own}" for own in first.own_metrics)) if _has(comparison, name)]
    body = [[one.title, *(_four_digits(one.metric(name)) for name in names)] for one in comparison.records]
    return (["run", *names], body) if names else None


def _has(comparison: Comparison, metric: str) -> bool:
    return any(record.metric(metric) is not None for record in comparison.records)


def _four_digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _pictures(comparison: Comparison) -> list[dict[str, str]]:
    """Title, caption, and the picture as base64 for a wide and for a narrow screen."""
    drawn = [(picture.title, picture.says, picture.png, picture.narrow_png) for picture in comparison.gallery.values()]
    named = list(zip(_titles(comparison.records), comparison.records, strict=True))
    for title, one in named if not drawn else ():
        if len(one.scores.epoch) > 1:  # a mean has no curve
            both = save(run_curves(one)), save(run_curves(one, narrow=True))
            drawn.append((f"Learning curves of {title}", "RMSE by epoch.", *both))
    for title, one in named:
        if (wide := residual_picture(one)) and (narrow := residual_picture(one, narrow=True)):
            says = "By rating value, and by how often the item was rated in training."
            drawn.append((f"Errors of {title} by group", says, save(wide), save(narrow)))
    texts = [(title, says, *(base64.b64encode(png).decode() for png in pngs)) for title, says, *pngs in drawn]
    return [dict(zip(("title", "says", "png", "narrow"), one, strict=True)) for one in texts]


def _titles(records: Sequence[Record]) -> list[str]:
    """The title of each run; of runs that share one (plain runs of a backend), with what tells them apart."""
    titles = [record.title for record in records]
    for more in (hyperparameters, lambda record: record.run_key):
        shared = Counter(titles)
        titles = [
            f"{title} {more(record)}".rstrip() if shared[title] > 1 else title
            for title, record in zip(titles, records, strict=True)
        ]
    return titles


def _made_by(record: Record) -> list[RunName]:
    """The runs behind a line of the leaderboard: its repeats, and for a final run those of its trial (the valid scores)."""
    runs: list[RunName] = [record]
    if record.best_trial is not None:
        runs.append(RunName(study=record.study, backend=record.backend, number=record.best_trial, stage="trial"))
    return [one for run in runs for one in (run, *later_repeats(run))]


def _data(record: Record) -> list[tuple[str, str]]:
    split = in_one_line(record.spec.split.model_dump(mode="json"))
    return [*lines_of(record.data.model_dump(exclude={"oracle"})), ("split", split)]


def lines_of(tree: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values as text, without those that are None."""
    return [(name, _as_text(value)) for name, value in tree.items() if value not in (None, "", {})]


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_as_text(inner)}" for name, inner in value.items() if inner is not None)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
