"""The report of an experiment: its results as files, and one page of HTML that needs nothing else."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.report.curves import mae_curves, residual_picture, run_curves, trial_curves
from mfbench.report.leaderboard import cells, note
from mfbench.report.results import Comparison
from mfbench.report.search_pictures import alpha_beta_map, importance_bars, trade_off_picture
from mfbench.report.style import save
from mfbench.runs.records import Record, RunName, later_repeats

TEMPLATE = Path(__file__).with_name("page.html.jinja")


def write_report(comparison: Comparison) -> Path:
    """Write `results/<experiment>/`, see `Comparison.write_results`, with the page `report.html`, whose path is given."""
    comparison.write_results()
    path = RESULTS / comparison.experiments[0] / "report.html"
    write_whole(path, page(comparison).encode())
    return path


def page(comparison: Comparison) -> str:
    """The report of one experiment as HTML: style, pictures and all in the one file, no script, nothing fetched."""
    from jinja2 import Environment

    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE.read_text())
    first = comparison.best
    return template.render(
        name=first.spec["name"],
        summary=_summary(comparison),
        board=cells(comparison.board, comparison.oracle),
        oracle=comparison.oracle,
        intervals=any(row.intervals for row in comparison.board),
        mark=note(comparison.board),
        pictures=_pictures(comparison),
        audit=comparison.audit,
        data=_data(first),
        commands=[(run.title, f"mfbench reproduce {run.run_key}") for one in comparison.records for run in _made_by(one)],
        environment=_lines(first.environment),
        spec=yaml.safe_dump(first.spec, sort_keys=False, allow_unicode=True),
    )


def _summary(comparison: Comparison) -> str:
    best, data = comparison.best, comparison.best.data
    judged = [("valid", best.valid_rmse), ("test", best.test_rmse)]
    scores = ", ".join(f"{part} RMSE {value:.4f}" for part, value in judged if value is not None) or "no part to be judged on"
    of = f"of {len(comparison.board)} backends " if len(comparison.board) > 1 else ""
    return f"{data['name']}: {data['n_users']:,} users, {data['n_items']:,} items. Best {of}by valid: {best.title}, {scores}."


def _pictures(comparison: Comparison) -> list[dict[str, str]]:
    trials, runs = comparison.trials, comparison.records
    drawn: list[tuple[str, str, bytes]] = []
    if trials:
        everything = [*trials, *runs]
        drawn = [
            ("Learning curves", "All trials faint, the best of each backend strong.", save(trial_curves(everything))),
            ("MAE", "By epoch, of the best of each backend; a floor is a level line.", save(mae_curves(everything))),
            ("RMSE against training time", "The line joins the trials that none beats in both.",
             save(trade_off_picture(trials))),
            ("What each trial tried", "The best valid RMSE of each trial.", comparison.search_png),
            ("Step size and penalty", "Colour is valid RMSE, size is K, a cross diverged.", save(alpha_beta_map(trials))),
        ]  # fmt: skip
        if comparison.audit and (shares := comparison.audit.importances()):
            drawn.append(("What mattered", "Importance of each hyperparameter, by backend.", save(importance_bars(shares))))
    else:
        drawn = [(f"Learning curves of {one.title}", "RMSE by epoch.", save(run_curves(one))) for one in runs]
    for one in runs:
        if (errs := residual_picture(one)) is not None:
            says = "By the value of the rating, and by how often the item was rated in training."
            drawn.append((f"Where {one.title} errs", says, save(errs)))
    return [{"title": title, "says": says, "png": base64.b64encode(png).decode()} for title, says, png in drawn]


def _made_by(record: Record) -> list[RunName]:
    """The runs that a line's numbers are of: all its repeats, and those of the trial that a final's valid ones are of."""
    runs: list[RunName] = [record]
    if record.best_trial is not None:
        runs.append(RunName(study=record.study, backend=record.backend, number=record.best_trial, stage="trial"))
    return [one for run in runs for one in (run, *later_repeats(run))]


def _data(record: Record) -> list[tuple[str, str]]:
    described = {name: value for name, value in record.data.items() if name != "oracle"}
    return [*_lines(described), ("split", yaml.safe_dump(record.spec["split"], default_flow_style=True, width=1000).strip())]


def _lines(tree: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and value as a person reads them; what is None is left out."""
    return [(name, _said(value)) for name, value in tree.items() if value is not None and value != ""]


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(inner)}" for name, inner in value.items() if inner is not None)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
