"""The documentation: the tutorial does what it shows, its notebook is made from it, and references are of what is there."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TIMES = re.compile(r"^.* times as long as .*\n", re.MULTILINE)
"""A warning of the audit that tells how busy the machine was."""
NUMBER = re.compile(r"-?\d+\.\d*(?:e-?\d+)?")


def docs_hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs/hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOOKS = docs_hooks()


def cells() -> list[dict[str, Any]]:
    return [cell for cell in json.loads(HOOKS.NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_made_from_the_tutorial() -> None:
    made = HOOKS.notebook(HOOKS.TEXT.read_text(encoding="utf-8"))
    assert HOOKS.NOTEBOOK.read_text(encoding="utf-8") == made, "run `python docs/hooks.py` in an empty folder"
    assert len(cells()) == len(re.findall(r"^```python$", HOOKS.TEXT.read_text(), re.MULTILINE)) > 8


@pytest.mark.long
def test_the_cells_of_the_tutorial_print_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MFBENCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # as in a notebook
    names: dict[str, Any] = {}
    for cell in cells():
        said = HOOKS.ran("".join(cell["source"]), names)
        shown = "".join(line for output in cell["outputs"] for line in output["text"])
        said, shown = TIMES.sub("", said), TIMES.sub("", shown)
        assert NUMBER.sub("#", said) == NUMBER.sub("#", shown)
        numbers = [[float(number) for number in NUMBER.findall(text)] for text in (said, shown)]
        # What is told of a difference depends on these: its sign, what its interval contains, which backend is first.
        assert numbers[0] == pytest.approx(numbers[1], rel=0.02, abs=2e-4)
    assert (tmp_path / "tutorial/tutorial.yaml").is_file()


def test_the_site_has_at_most_24_files_each_in_its_navigation() -> None:
    files = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.*") if path.suffix != ".pyc"}
    assert len(files) <= 24
    shown = re.findall(r"[\w-]+\.md", yaml.safe_dump(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert {name for name in files if name.endswith(".md")} == set(shown)


def test_the_references_name_every_command_and_every_key() -> None:
    from mfbench.spec import Spec, Sweep

    told = HOOKS.on_page_markdown("{{ commands }} {{ keys }}")
    assert "{{" not in told
    for words in ("sweep", "report", "data get"):
        assert f"\n## `mfbench {words}`" in told or f"\n### `mfbench {words}`" in told
    for key in (*Spec.model_fields, *Sweep.model_fields):
        assert f"\n| `{key}` | " in told
    assert "| `pruner` | `patience`, `none`, `median`, `hyperband` | `patience` |" in told
