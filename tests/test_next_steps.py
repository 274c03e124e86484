"""What a command says at its end: where the records are, what to do next, what its words mean, the matrix filled in."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from processes import last_line
from user_files import write_spec

import mfbench
from mfbench.commands.cli import next_steps
from mfbench.core import docs
from mfbench.core.docs import docs_link

NOTEBOOK = {
    "name": "notebook", "data": {"dataset": "notebook-6x4"}, "split": {"kind": "none"},
    "model": {"backend": "loop", "K": 3, "alpha": 0.01, "epochs": 300, "init": {"uniform": [0, 1]}},
}  # fmt: skip


def next_commands(out: str) -> list[list[str]]:
    """The words of the commands that are offered, without `mfbench`."""
    lines = out[out.index("next:\n") :].splitlines()[1:-1]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_every_term_has_its_section_in_the_readme() -> None:
    headings = re.findall(r"^#+ (.*)$", Path(docs_link("run").partition("#")[0]).read_text(), re.MULTILINE)
    sections = {heading.lower().replace(" ", "-") for heading in headings}
    assert {docs_link(term).partition("#")[2] for term in docs._SECTIONS} <= sections


@pytest.mark.usefixtures("stored")
def test_the_notebook_is_shown_filled_in_beside_what_was_given(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    path = write_spec(NOTEBOOK)
    out = command("run", path)[1]
    (row,) = (line.split() for line in out.splitlines() if line.split()[:1] == ["U1"])
    assert row[:6] == ["U1", "5", "3", "·", "1", "U1"]
    filled = mfbench.load_model(mfbench.run(path).record.run_key).predict(["U1"] * 4, ["D1", "D2", "D3", "D4"])
    assert row[6:] == [f"{value:.2f}" for value in filled.prediction]
    monkeypatch.setenv("COLUMNS", "50")
    assert sum(line.split()[:1] == ["U1"] for line in command("run", path)[1].splitlines()) == 2
    _, out, err = command("run", path, "--json")
    assert len(out.splitlines()) == 1
    assert "filled in" in err
    last_line(out)


@pytest.mark.usefixtures("stored")
def test_the_next_commands_can_be_run_as_they_stand(command: Any, small: dict[str, Any]) -> None:
    path = write_spec(small)
    changed = ("--set", "model.backend=loop", "--set", "model.init={normal: 0.2}")
    out = command("run", path, *changed)[1]
    assert "filled in" not in out  # it has 60 users
    report, sweep = next_commands(out)
    assert command(*report)[0] == 0
    assert sweep == ["sweep", path, *changed]
    out = command(*sweep)[1]
    study = mfbench.sweep(path, changes=changed[1::2]).swept.study
    assert f"records: 7 in runs/{study}/" in out
    assert next_commands(out)[0] == ["report", study]
    assert command("report", study)[0] == 0


def test_where_the_shell_does_not_find_mfbench_it_is_said_how_it_will(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("mfbench", "activate"):
        (tmp_path / "bin" / name).touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin/python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    swept, said = ["ui", "x"], "so that the shell finds mfbench: source bin/activate\n"
    found = next_steps._next({"mfbench ui x": "all runs"}, "run")
    assert said not in found
    monkeypatch.setenv("PATH", "")
    lacking = next_steps._next({"mfbench ui x": "all runs"}, "run")
    assert lacking == said + found
    assert next_commands(lacking) == [swept]


@pytest.mark.usefixtures("stored")
def test_a_run_that_diverged_is_answered_by_a_smaller_step_size(command: Any) -> None:
    path = write_spec(NOTEBOOK)
    out = command("run", path, "--set", "model.alpha=50")[1]
    assert next_commands(out) == [["run", path, "--set", "model.alpha=5"]]


@pytest.mark.usefixtures("stored")
def test_a_search_that_still_improves_is_offered_to_go_on(command: Any, small: dict[str, Any]) -> None:
    path = write_spec(small)
    result = mfbench.sweep(path)
    gaining = any(search.still_gaining for search in result.swept.audit.searched)
    wanted = ["sweep", path, "--trials", "12"] if gaining else ["ui", result.swept.study]
    assert next_commands(command("sweep", path)[1]) == [["report", path], wanted]
