"""The user's own catalogue: files `datasets.yaml`, with an entry for each data set, beside the specs that name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mfbench.core.errors import SpecError
from mfbench.spec.faults import fault
from mfbench.spec.sources.entry import NAMES, DataEntry, is_name

FILE = "datasets.yaml"
PLACES = (Path(), Path("experiments"))
"""Where the file is looked for, besides the folder of the spec."""


def own_datasets(folder: Path | None = None) -> dict[str, DataEntry]:
    """The entries by name, of the files in the spec's folder, the current one, and `experiments/`; the first of a name counts.

    SpecError if one of these files is not valid.
    """
    found: dict[str, DataEntry] = {}
    for place in (*([folder] if folder else []), *PLACES):
        path = place / FILE
        if path.is_file():
            found = {**_entries(path), **found}
    return found


def with_entry(tree: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """The spec with the entry of its data set filled in, if that is one of the user's own."""
    data = tree.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("dataset"), str) or data.get("entry") is not None:
        return tree
    entry = own_datasets(folder).get(data["dataset"])
    if entry is None:
        return tree
    return {**tree, "data": {**data, "entry": entry.model_dump(mode="json", exclude_unset=True)}}


def _entries(path: Path) -> dict[str, DataEntry]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SpecError(f"{path}{line}: the data sets cannot be read ({why}); correct this file") from None
    if not isinstance(tree, dict):
        raise SpecError(
            f"{path}: this is not a mapping of names to data sets; give a name, and below it the keys of its entry"
        )
    return {str(name): _entry(path, str(name), one) for name, one in tree.items()}


def _entry(path: Path, name: str, tree: Any) -> DataEntry:
    if not is_name(name):
        raise SpecError(f"{path}: {name!r} cannot name a data set; {NAMES}")
    if isinstance(tree, dict) and isinstance(tree.get("file"), str):
        tree = {**tree, "file": str(path.parent / Path(tree["file"]).expanduser())}
    try:
        return DataEntry.model_validate(tree)
    except ValidationError as error:
        wrong = fault(error)
        says = wrong.says
        if wrong.detail["type"] == "extra_forbidden":
            says = f"unknown key; choose from {', '.join(DataEntry.model_fields)}"
        raise SpecError(f"{path}: {'.'.join([name, *wrong.steps])}: {says}") from None
