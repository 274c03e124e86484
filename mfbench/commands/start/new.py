"""A spec to start from, written into the current folder."""

from __future__ import annotations

from pathlib import Path

import yaml

import mfbench.spec
from mfbench.core.errors import InputError
from mfbench.core.files import write_whole
from mfbench.spec import load_spec

TEMPLATE = Path(mfbench.spec.__file__).with_name("quickstart.yaml")


def new_spec(name: str) -> Path:
    """Write the commented quickstart spec with this name to `NAME.yaml`, and return the path.

    InputError if the name is invalid, or the file exists.
    """
    if name.endswith((".yaml", ".yml")):
        raise InputError(f"new {name}: give the name of the experiment, without .yaml")
    # Dumped as YAML, which quotes a name that looks like a number or a date.
    text = TEMPLATE.read_text(encoding="utf-8").replace("name: quickstart\n", yaml.safe_dump({"name": name}), 1)
    load_spec(yaml.safe_load(text))
    path = Path(f"{name}.yaml")
    if path.exists():
        raise InputError(f"{path}: this file already exists; choose another name, or move the file")
    write_whole(path, text.encode())
    return path
