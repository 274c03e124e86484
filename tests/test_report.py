"""The report: one page that holds every number, fetches nothing, and escapes what it is given."""

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from record_factory import STUDY, altered, record, sweep_records, write

from mfbench.commands.compare import compared
from mfbench.report.page import page, write_report

VOID = {"meta", "img", "link", "br"}


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
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

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
    assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    if folder := os.environ.get("MFBENCH_SCREENSHOTS"):
        tab.screenshot(path=f"{folder}/report-phone.png")
        tab.emulate_media(color_scheme="light")
        tab.set_viewport_size({"width": 1100, "height": 900})
        tab.screenshot(path=f"{folder}/report.png", full_page=True)
    tab.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
