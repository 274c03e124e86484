"""The files of a suite in `results/`, its page among them."""

from __future__ import annotations

import base64
from pathlib import Path

from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.report.page import TEMPLATE, lines_of
from mfbench.report.suites.ranks import INSTALL
from mfbench.report.suites.table import SuiteTable

PAGE = "suites/suite.html.jinja"


def write_suite(table: SuiteTable, text: str, folder: Path | None = None) -> Path:
    """Write the folder, by default `results/<suite>/`, and return the path of its page.

    The table as CSV, Markdown and LaTeX, the seconds as CSV, the pictures as PNG and PDF, and a page `report.html` with all
    of it. text: the suite itself, as YAML. Running the same suite again changes only what seconds are in, and on another
    kind of machine last digits.
    """
    folder = folder or RESULTS / table.name
    made = {
        "table.csv": table.csv().encode(),
        "seconds.csv": table.seconds_csv().encode(),
        "table.md": table.markdown().encode(),
        "table.tex": table.latex().encode(),
        **{f"{name}.png": picture.png for name, picture in table.pictures.items()},
        **{f"{name}.pdf": picture.pdf for name, picture in table.pictures.items()},
        "report.html": page(table, text).encode(),
    }
    for name, content in made.items():
        write_whole(folder / name, content)
    return folder / "report.html"


def page(table: SuiteTable, text: str) -> str:
    """The suite as HTML, with style and pictures inline: no scripts, no external files."""
    from jinja2 import Environment, FileSystemLoader

    loader = FileSystemLoader(TEMPLATE.parent)
    template = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template(PAGE)
    records = [record for cell in table.cells for record in cell.records]
    alike = {cell.dataset: cell.records[0].data for cell in table.cells if cell.records}
    return template.render(
        name=table.name,
        summary=f"{len(table.backends)} backends on {len(table.datasets)} data sets, each tuned on valid and tested once.",
        board=table.texts(),
        notes=table.notes,
        missing=None if "ranks" in table.pictures or table.ranks is None else INSTALL,
        pictures=[
            {
                "title": picture.title,
                "says": picture.says,
                "png": base64.b64encode(picture.png).decode(),
                "narrow": base64.b64encode(picture.narrow_png).decode(),
            }
            for picture in table.pictures.values()
        ],
        data=[
            [name, f"{one.n_users:,}", f"{one.n_items:,}", *(f"{n or 0:,}" for n in (one.n_train, one.n_valid, one.n_test))]
            for name, one in alike.items()
        ],
        commands=[(f"{record.spec.name}: {record.title}", f"mfbench reproduce {record.run_key}") for record in records],
        environment=lines_of(records[0].environment.model_dump()) if records else [],
        suite=text,
    )
