"""`mfbench new`: a spec to start from, in an empty folder, that never takes the place of another file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from processes import last_line, mfbench

from mfbench.spec import load_spec, study_key

COMMITTED = Path(__file__).parents[1] / "experiments/quickstart.yaml"


@pytest.mark.usefixtures("workplace")
def test_the_quickstart_is_the_committed_experiment_and_names_the_next_two_commands() -> None:
    status, out, err = mfbench("new", "quickstart")
    assert status == 0, err
    assert Path("quickstart.yaml").read_text() == COMMITTED.read_text(), "copy mfbench/spec/quickstart.yaml to experiments/"
    assert study_key(load_spec("quickstart.yaml")) == study_key(load_spec(COMMITTED)) == "quickstart-0ffb70cb"
    assert "mfbench sweep quickstart.yaml\n" in out
    assert "mfbench report quickstart.yaml\n" in out
    assert [path.name for path in Path().iterdir()] == ["quickstart.yaml"]


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("name", ["mine-2", "2024-01-01", "1.5", "null", "K" * 80])
def test_any_name_becomes_that_of_the_spec(command: Any, name: str) -> None:
    assert last_line(command("new", name, "--json")[1]) == {"name": name, "spec_path": f"{name}.yaml"}
    spec = load_spec(f"{name}.yaml")
    assert spec.name == name
    assert spec.model_copy(update={"name": "quickstart"}) == load_spec(COMMITTED)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../mine", "name: '../mine' must start with a letter or digit"),
        ("my ratings", "name: 'my ratings' must start with a letter or digit"),
        ("", "name: '' must start with a letter or digit"),
        ("K" * 81, "at most 80 characters"),
        ("mine.yaml", "new mine.yaml: give the name of the experiment, without .yaml"),
    ],
)
def test_a_name_that_a_spec_cannot_have_is_exit_code_2_one_sentence_and_no_file(command: Any, name: str, says: str) -> None:
    status, _, err = command("new", name)
    assert (status, len(err.splitlines())) == (2, 1)
    assert says in err
    assert list(Path().iterdir()) == []


@pytest.mark.usefixtures("workplace")
def test_a_file_that_is_there_stays_as_it_is(command: Any) -> None:
    Path("mine.yaml").write_text("name: mine\n")
    status, _, err = command("new", "mine")
    assert status == 2
    assert err == "mfbench: mine.yaml: this file already exists; choose another name, or move the file\n"
    assert Path("mine.yaml").read_text() == "name: mine\n"
