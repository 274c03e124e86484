"""`mfbench new`: a spec to start from, in an empty folder, that never takes the place of another file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mfbench.spec import load_spec, study_key

COMMITTED = Path(__file__).parents[1] / "experiments/quickstart.yaml"


def new(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mfbench", "new", *words], capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("workplace")
def test_the_quickstart_is_the_committed_experiment_and_names_the_next_two_commands() -> None:
    done = new("quickstart")
    assert done.returncode == 0, done.stderr
    assert Path("quickstart.yaml").read_text() == COMMITTED.read_text(), "copy mfbench/spec/quickstart.yaml to experiments/"
    assert study_key(load_spec("quickstart.yaml")) == study_key(load_spec(COMMITTED)) == "quickstart-0d671085"
    assert "mfbench sweep quickstart.yaml\n" in done.stdout
    assert "mfbench report quickstart.yaml\n" in done.stdout
    assert [path.name for path in Path().iterdir()] == ["quickstart.yaml"]


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("name", ["mine-2", "2024-01-01", "1.5", "null", "K" * 80])
def test_any_name_becomes_that_of_the_spec(name: str) -> None:
    done = new(name, "--json")
    assert json.loads(done.stdout.splitlines()[-1]) == {"name": name, "spec_path": f"{name}.yaml"}
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
        ("mine.yaml", "new mine.yaml: give the name of the experiment, without the ending"),
    ],
)
def test_a_name_that_a_spec_cannot_have_is_exit_code_2_one_sentence_and_no_file(name: str, says: str) -> None:
    done = new(name)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(Path().iterdir()) == []


@pytest.mark.usefixtures("workplace")
def test_a_file_that_is_there_stays_as_it_is() -> None:
    Path("mine.yaml").write_text("name: mine\n")
    done = new("mine")
    assert done.returncode == 2
    assert done.stderr == "mfbench: mine.yaml: this file exists already; choose another name, or move it away\n"
    assert Path("mine.yaml").read_text() == "name: mine\n"
