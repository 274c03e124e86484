"""The report: one page that holds every number, fetches nothing, and escapes what it is given."""

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from record_factory import STUDY, altered, record, sweep_records, write

from mfbench.commands.compare import compared
from mfbench.report.page import page, write_report

VOID = {"meta", "img", "link", "br", "source"}


class Reader(HTMLParser):
    """The text of a page, the addresses in it, and whether each tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.scripts = "", 0
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open += [] if tag in VOID else [tag]
        self.scripts += tag == "script"
        self.addresses += [value for name, value in attrs if name in ("src", "srcset", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def report(workplace) -> Path:  # noqa: ARG001
    write(sweep_records())
    return write_report(compared(["little"]))


def test_the_page_has_every_final_and_how_to_make_it_again(report):
    comparison = compared(["little"])
    read = Reader(report.read_text())
    assert not read.open
    assert len(comparison.board) == 3
    for row in comparison.board:
        assert f"{row.record.valid_rmse:.4f}" in read.text
        assert f"{row.record.test_rmse:.4f}" in read.text
        assert f"mfbench reproduce {row.record.run_key}" in read.text
    assert all(sentence in read.text for sentence in comparison.audit.sentences())
    assert {path.name for path in report.parent.iterdir()} >= {"leaderboard.csv", "leaderboard.md", "metrics.json"}


def test_a_mean_is_made_again_by_a_command_a_repeat_and_valid_numbers_by_that_of_the_trial(workplace):  # noqa: ARG001
    records = sweep_records()
    write(records + [made.model_copy(update={"repeat": r}) for made in records if made.backend == "jax" for r in (1, 10)])
    text = Reader(page(compared(["little"]))).text
    said = re.findall("mfbench reproduce (.*)", text)
    jax = [f"{STUDY}/jax/{run}" for run in ("0/final", "0/final/1", "0/final/10", "2/trial", "2/trial/1", "2/trial/10")]
    assert [key for key in said if "/jax/" in key] == jax
    assert [key for key in said if "/jax/" not in key] == [
        f"{STUDY}/{run}" for run in ("adam/0/final", "adam/2/trial", "mean/0/floor")
    ]
    assert "jax #2 r10" in text


def test_it_needs_nothing_else(report):
    read = Reader(text := report.read_text())
    assert read.scripts == 0
    assert len(read.addresses) >= 4
    assert all(address.startswith("data:image/png;base64,") for address in read.addresses)
    assert not re.search(r"url\(|@import", text)
    assert report.stat().st_size < 3_000_000


def test_a_sentence_under_the_leaderboard_is_a_paragraph_of_its_own(report):
    text = report.read_text()
    assert re.search("<p>[^<]* Best of 3 runs on valid: [^<]*</p>", text)
    assert '<p class="pale">Ordered by valid RMSE, never by a score on test.</p>' in text


def test_what_a_board_is_too_small_for_is_a_sentence(workplace):  # noqa: ARG001
    write([altered(one, data={"deviation": 1.0}) for one in sweep_records()])
    assert '<p class="pale">Differences in test RMSE below about 0.039 are too small' in page(compared(["little"]))


def headings(comparison) -> list[str]:
    return re.findall("<h2>(.*?)</h2>", page(comparison))


def test_a_search_has_a_picture_of_each_kind_under_a_title_of_its_own(report):  # noqa: ARG001
    shown = headings(compared(["little"]))
    assert {"Learning curves", "MAE", "What each trial tried", "Step size and penalty", "Search audit"} <= set(shown)
    assert len(shown) == len(set(shown))


def test_where_nothing_was_searched_there_is_no_picture_of_a_search(workplace):  # noqa: ARG001
    write([record(0, backend=name, stage=stage) for name in ("jax", "adam") for stage in ("trial", "final")])
    assert not {"What each trial tried", "Step size and penalty", "Search audit"} & set(headings(compared(["little"])))


def test_plain_runs_of_one_backend_are_told_apart_and_one_epoch_is_no_curve(workplace):  # noqa: ARG001
    runs = [record(number, stage="run", study=f"little-{number}{number}111111") for number in (1, 2, 3)]
    same = runs[2].model_copy(update={"study": "little-44111111", "path": runs[2].path})
    flat = record(0, backend="mean", stage="run", epochs=1, study="little-55111111")
    write([*runs, same, flat])
    shown = headings(compared(["little"]))
    curves = [title for title in shown if title.startswith("Learning curves of ")]
    assert len(set(curves)) == len(curves) == 4
    assert sum(f"K={runs[0].K} " in title for title in curves) == 1
    assert all(made.run_key in "".join(curves) for made in (runs[2], same))
    assert not any("mean" in title for title in curves)


def test_each_picture_has_a_narrow_form_for_phones(report):
    text = report.read_text()
    assert text.count('<source media="(max-width: 40rem)" srcset="data:') == text.count("<img ") >= 5


def test_what_it_is_given_is_escaped(workplace):  # noqa: ARG001
    made = record(0, stage="run", study="little-11111111")
    write([altered(made, data={"name": "<b>R & D</b>"})])
    assert "&lt;b&gt;R &amp; D&lt;/b&gt;" in page(compared(["little"]))


def test_a_browser_opens_it_on_a_phone_and_asks_for_nothing(report, browser):
    asked, said = [], []
    tab = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(report.resolve().as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    phone = tab.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert max(phone) < 600  # drawn for a narrow screen, so that its words can be read
    assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    if folder := os.environ.get("MFBENCH_SCREENSHOTS"):
        tab.screenshot(path=f"{folder}/report-phone.png")
        tab.emulate_media(color_scheme="light")
        tab.set_viewport_size({"width": 1100, "height": 900})
        tab.screenshot(path=f"{folder}/report.png", full_page=True)
    tab.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
