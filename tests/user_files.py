"""Files as a user writes them: a spec, ratings, a backend of their own; and tables as they read them."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml


def write_spec(spec: Any, path: str = "spec.yaml") -> str:
    """The path of a YAML file with this spec."""
    Path(path).write_text(yaml.safe_dump(spec))
    return path


def write_ratings(rows: Iterable[Sequence[Any]], path: str = "ratings.csv") -> dict[str, str]:
    """The data section of a spec, and the CSV file that it names, with these users, items and ratings."""
    lines = [",".join(map(str, row)) for row in rows]
    Path(path).write_text("\n".join(["user,item,rating", *lines]) + "\n")
    return {"file": path}


def write_backend(before: str, fields: str = "") -> str:
    """The name in a spec of a backend in mine.py, which does this before each training and then trains as `loop`."""
    Path("mine.py").write_text(
        "import errno, json, os, pathlib, signal, time\n"
        "from dataclasses import dataclass\n"
        "from mfbench.backends.loop import Loop\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Loop):\n"
        "    def epochs(self, train, start, hyper, schedule, rng):\n"
        f"{textwrap.indent(textwrap.dedent(before).strip(), ' ' * 8)}\n"
        "        return super().epochs(train, start, hyper, schedule, rng)\n"
        f"{textwrap.indent(fields, ' ' * 4)}\n"
    )
    return "mine.py:Mine"


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """The lines of a CSV file by column."""
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))
