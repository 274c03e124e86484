"""Names and ids from outside stay text: in the report and its DOM, in MLflow, in spreadsheets, Markdown and terminals."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.text
import pytest
from record_factory import STUDY, altered, record, swept, write
from user_files import read_csv, write_ratings

import mfbench
from mfbench.commands.compare import compared
from mfbench.core.inert import as_code, in_markdown, sentence_in_markdown, visible
from mfbench.core.tables import csv_of
from mfbench.report.curves import mae_curves, run_curves, trial_curves
from mfbench.report.description import descriptions
from mfbench.report.gallery import gallery
from mfbench.report.page import write_report
from mfbench.report.search_pictures import alpha_beta_map, sweep_picture, trade_off_picture
from mfbench.runs.records import Record
from mfbench.tracking.client import Tracker

HOSTILE = (
    "=1+1|<script>hit=1</script>`{{7*7}}`.py:Mine",
    '@x;$(touch hit)<img src=x onerror="hit=1">$^_$.py:Mine',
    "-a``[b](javascript:hit=1)\u202eyp.py:Mine",
)
TITLE = "\"'><svg onload=hit=1>{{7*7}}\u202evsc.csv"


def hostile_sweep() -> list[Record]:
    """A sweep of backends with these names, on a file with that one."""
    found = []
    for backend in HOSTILE:
        found += [record(0, backend=backend), record(1, backend=backend), record(0, backend=backend, stage="final", seed=9)]
    return [altered(one, data={"name": TITLE}) for one in found]


class Text(HTMLParser):
    """The text of a page, and how many elements of each kind it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") for name, _ in attrs)
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("hostile"))
        patch.setattr("mfbench.report.gallery.save", lambda _: b"a picture")  # to draw them takes seconds
        write(hostile_sweep())
        yield write_report(compared(["little"])).resolve()


def test_the_report_shows_them_as_text(report: Path) -> None:
    page = Text(report.read_text())
    assert not {"script", "svg"} & set(page.tags)
    for name in (*HOSTILE, TITLE):  # {{7*7}} too, not 49
        assert visible(name) in page.text
    assert "\u202e" not in page.text
    said = {shlex.split(one)[0] for one in re.findall(r"mfbench reproduce ('[^\n]*?/0/final')", page.text)}
    assert said == {visible(f"{STUDY}/{name}/0/final") for name in HOSTILE}  # each one word of a shell


def test_a_browser_runs_none_of_them(report: Path, browser: Any) -> None:
    tab = browser.new_page()
    tab.goto(report.as_uri())
    assert tab.evaluate("typeof hit") == "undefined"
    assert tab.evaluate("document.querySelectorAll('script, svg, img[src=x], [onerror], [onload]').length") == 0
    text = tab.evaluate("document.body.textContent")
    assert all(visible(name) in text for name in (*HOSTILE, TITLE))
    # The picture with tooltips that a sweep has in MLflow.
    found = swept(hostile_sweep())
    page = report.with_name("sweep.html")
    page.write_bytes(gallery(found)["sweep"].page(found.study))
    tab.goto(page.as_uri())
    assert tab.evaluate("typeof hit") == "undefined"
    assert tab.evaluate("document.querySelectorAll('script, img').length") == 0
    tab.close()


@pytest.mark.parametrize("draw", [run_curves, trial_curves, mae_curves, sweep_picture, alpha_beta_map, trade_off_picture])
def test_pictures_have_them_as_text_not_as_mathematics(draw: Callable[[Any], Any]) -> None:
    records = [*(record(number, backend=HOSTILE[1]) for number in range(2)), record(0, backend=HOSTILE[1], stage="floor")]
    drawn = draw(records[0] if draw is run_curves else records[:2] if draw is trade_off_picture else records)
    drawn.draw_without_rendering()  # which raises for wrong mathematics
    texts = [text.get_text() for text in drawn.findobj(matplotlib.text.Text)]
    assert any("".join(text.replace(r"\$", "$").split("\n")).startswith(HOSTILE[1][:20]) for text in texts)


def test_tables_of_the_report_have_no_formula_and_no_tag(report: Path) -> None:
    for path in report.parent.glob("*.csv"):
        for line in csv.reader(path.read_text().splitlines()):
            for cell in line:
                assert not re.match(r"[=+@-](?![\d.])", cell), (path, cell)
    shown = {line["backend"] for line in read_csv(report.parent / "leaderboard.csv")}
    assert shown == {f"'{name}" if name[0] in "=@-" else name for name in HOSTILE}
    assert "\"'@x;$(touch hit)" in (report.parent / "leaderboard.csv").read_text()  # quoted, as ; separates in some countries
    for path in report.parent.glob("*.md"):
        text = path.read_text()
        assert not re.search(r"<[A-Za-z/!]", text), path
        assert not re.search(r"(?<!\\)\]\(", text)
        rows = [line for line in text.splitlines() if line.startswith("| ")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows}) == 1, "each row has as many cells"


def test_notes_in_mlflow_have_no_tag_and_no_link() -> None:
    for text in descriptions(swept(hostile_sweep())).values():
        outside_code = re.sub(r"(`+)(.*?)\1", "", text.replace("\\`", ""))
        assert not re.search(r"<[A-Za-z/!]", outside_code), text
        assert not re.search(r"(?<!\\)\]\(", outside_code)


@pytest.mark.usefixtures("stored")
def test_a_sweep_of_such_backends_is_exported_whole() -> None:
    found = swept(hostile_sweep())
    tracker = Tracker("little")
    parent = tracker.open_sweep(found.records[0])
    tracker.close_sweep(parent, found)
    metrics = tracker.client.get_run(parent).data.metrics
    assert sum(name.endswith(".test_rmse") for name in metrics) == len(HOSTILE)


@pytest.mark.usefixtures("stored")
def test_ids_of_a_file_are_no_formulas_in_the_filled_matrix_and_no_markup_in_a_terminal(
    command: Callable[..., tuple[int, str, str]],
) -> None:
    items = ["=1+1", "@SUM(A1)", "-2+3", "+x", "[/b]", "[bold]y", ":smile:", "<b>", "user"]
    users = ["-1+2", "u\u202e", "ann", "\x1b[2Jbob"]
    rows = [(user, item, 1 + (3 * u + i) % 5) for u, user in enumerate(users) for i, item in enumerate(items)]
    model = {"backend": "loop", "K": 2, "epochs": 2, "alpha": 0.01}
    split = {"kind": "random", "valid": 0.3, "seed": 1}
    run = mfbench.run({"name": "ids", "data": write_ratings(rows), "split": split, "model": model}).record
    told = [command("recommend", run.run_key), command("similar", run.run_key, "--item", "[/b]")]
    assert [status for status, *_ in told] == [0, 0], told
    shown = "".join(out for _, out, _ in told)
    assert "[bold]y" in shown
    assert ":smile:" in shown
    assert "\x1b[2J" not in shown
    assert r"\x1b[2Jbob" in shown
    assert r"u\u202e" in shown

    mfbench.recommender(run.run_key).fill(Path("cells.csv"))
    cells = read_csv("cells.csv")
    assert {line["item"] for line in cells} == {f"'{item}" if item[0] in "=@-+" else item for item in items}
    assert {line["user"] for line in cells} == {"'-1+2", *users[1:]}
    report = mfbench.write_report("ids")
    header, *lines = csv.reader((report.parent / "filled.csv").read_text().split("\n")[:-1])
    assert sorted(header) == sorted(["user", *(f"'{item}" if item[0] in "=@-+" else item for item in items)])
    assert all(float(cell) for line in lines for cell in line[1:])


@pytest.mark.usefixtures("stored")
def test_numbers_stay_numbers_in_a_spreadsheet() -> None:
    rows = [(-user, item - 3, 1 + (3 * user + item) % 5) for user in range(1, 5) for item in range(6)]
    spec = {"name": "ids", "data": write_ratings(rows), "split": {"kind": "none"}, "model": {"backend": "loop", "K": 2}}
    run = mfbench.run(spec, ["model.epochs=2"]).record
    mfbench.recommender(run.run_key).fill(Path("cells.csv"))
    assert {line["user"] for line in read_csv("cells.csv")} == {"-1", "-2", "-3", "-4"}


def test_markdown_keeps_our_own_code_and_numbers() -> None:
    for ours in ("try `alpha: {float: [0.1, 1]}`", "by <0.0001", "uniform [0, 1)", "0.9 ± 0.1 =", "R & D"):
        assert sentence_in_markdown(ours) == ours
    for cell in ("by <0.0001", "uniform [0, 1)", "R & D", "my_own.py:Mine"):
        assert in_markdown(cell) == cell
    assert sentence_in_markdown("```<img>`: x") == "```&lt;img>`: x"
    assert as_code("a`b") == "``a`b``"


def test_a_table_without_such_names_is_plain() -> None:
    assert csv_of(["a", "b"], [["jax", 0.1], ["x, y", None], ["-5", -1]]) == 'a,b\njax,0.1\n"x, y",\n-5,-1\n'
