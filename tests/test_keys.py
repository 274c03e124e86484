"""The reference of all keys: complete, in Markdown and as JSON Schema."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from mfbench.commands.start.keys import markdown, schema
from mfbench.spec import Spec

SPECS = sorted(Path(__file__).parents[1].glob("experiments/*.yaml"))
SPECS = [path for path in SPECS if not path.name.startswith("suite-")]


def classes(of: Any, found: dict[type[BaseModel], None]) -> dict[type[BaseModel], None]:
    """All sections of a spec."""
    if isinstance(of, type) and issubclass(of, BaseModel):
        found[of] = None
        for field in of.model_fields.values():
            classes(field.annotation, found)
    for one in get_args(of):
        classes(one, found)
    return found


def test_every_key_stands_in_the_reference_with_a_meaning_and_its_default() -> None:
    text = markdown()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    for row in rows:
        assert len(re.split(r"(?<!\\)\|", row)) == 6, row
        assert not row.endswith("|  |"), f"no meaning: {row}"
    for section in classes(Spec, {}):
        if not {"int", "float", "choice"} & section.model_fields.keys():  # the entries of a search space are types there
            for key in section.model_fields:
                assert any(row.startswith(f"| `{key}` |") for row in rows), (section, key)
    assert "| `K` | integer ≥ 1, ≤ 2,147,483,647 | `16` | the number of factors. |" in text
    assert "| `duplicates` | `error`, `last`, `mean` | `error` |" in text
    assert "## split (kind: leave-out)" in text


def test_one_section_alone(command: Any) -> None:
    status, out, _ = command("keys", "data.wide")
    assert status == 0
    assert out.startswith("## data.wide\n")
    assert out.count("## ") == 1
    assert command("keys", "split")[1].count("## split (kind: ") == 9
    status, _, err = command("keys", "sweeps")
    assert status == 2
    sections = "data, data.planted, data.wide, data.entry, data.entry.wide, data.entry.titles, split, model, model.init"
    assert f"choose from {sections}, sweep, race, evaluation" in err


def test_the_schema_takes_each_committed_spec_and_refuses_a_wrong_key(command: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed: pip install jsonschema")
    made = json.loads(command("keys", "--schema")[1])
    assert made == schema()
    jsonschema.Draft202012Validator.check_schema(made)
    check = jsonschema.Draft202012Validator(made)
    assert len(SPECS) >= 10
    for path in SPECS:
        tree = yaml.safe_load(path.read_text())
        check.validate(tree)
        tree["model"] = {**tree.get("model", {}), "k": 3}
        assert not check.is_valid(tree), path


def test_each_key_of_the_schema_has_its_description() -> None:
    for name, part in [("Spec", schema()), *schema()["$defs"].items()]:
        for key, one in part.get("properties", {}).items():
            assert one.get("description") or name in ("IntRange", "FloatRange", "Choice"), (name, key)
