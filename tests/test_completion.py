"""What a shell completes, asked as bash asks: run keys, spec files, experiments, names. It loads nothing slow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from processes import python
from record_factory import STUDY, record, write

ASK = "import sys; sys.argv[0] = 'mfbench'; from mfbench.commands.cli.main import main; main()"


def completed(line: str) -> list[str]:
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_MFBENCH_COMPLETE": "complete_bash"}
    status, out, err = python("-X", "importtime", "-c", ASK, settings=words)
    assert status == 0, err
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in err.splitlines() if "|" in line}
    assert not loaded & {"jax", "mlflow", "optuna", "pandas", "numba", "scipy", "matplotlib"}
    return out.split()


@pytest.fixture
def left(workplace: Path) -> Path:
    """A folder with specs, and the records of a study."""
    write([record(0, backend=name, stage=stage) for name in ("jax", "adam") for stage in ("trial", "final")])
    Path("experiments").mkdir()
    spec: dict[str, Any] = {"name": "little", "sweep": {"backends": ["jax", "adam"]}}
    for path in ("mine.yaml", "experiments/little.yml", ".hidden.yaml"):
        Path(path).write_text(json.dumps(spec))
    Path("notes.txt").write_text("no spec")
    return workplace


@pytest.mark.usefixtures("left")
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("mfbench rec", ["recommend"]),
        ("mfbench run ", ["experiments/little.yml", "mine.yaml"]),
        ("mfbench sweep exp", ["experiments/little.yml"]),
        ("mfbench sweep mine.yaml --backend a", ["adam"]),
        ("mfbench sweep none.yaml --backend a", []),
        ("mfbench report ", ["experiments/little.yml", "mine.yaml", "little"]),
        ("mfbench compare lit", ["little"]),
        ("mfbench recommend ", [f"{STUDY}/adam/0/final", f"{STUDY}/jax/0/final"]),
        (f"mfbench reproduce {STUDY}/jax/", [f"{STUDY}/jax/0/final", f"{STUDY}/jax/0/trial"]),
        ("mfbench data get ml-100", ["ml-100k"]),
    ],
)
def test_what_is_there_is_offered(line: str, wanted: list[str]) -> None:
    assert completed(line) == wanted


def test_the_script_of_a_shell_is_shown(command: Any) -> None:
    status, out, _ = command("--show-completion", "bash")
    assert (status, "_mfbench_completion" in out) == (0, True)
