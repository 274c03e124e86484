"""A spec to start from, written into the current folder: the quickstart, or one for a file of ratings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

import mfbench.spec
from mfbench.commands.start.keys import SCHEMA, write_schema
from mfbench.commands.start.looking import look
from mfbench.commands.start.ranges import Ranges, middle
from mfbench.core.errors import InputError
from mfbench.core.files import write_whole
from mfbench.data.dataset import Dataset
from mfbench.data.prepared import sentence, summary
from mfbench.spec import load_spec

TEMPLATE = Path(mfbench.spec.__file__).with_name("quickstart.yaml")
COMMENTS_FROM = 57
MANY = 2_000_000
"""With more ratings, Gibbs sampling takes too long for a first search."""
OF_PRIOR = 3.0
"""With a standard deviation outside 1/3 to 3, the ratings do not suit the prior of bmf, which knows no scale."""


def new_spec(name: str, data: str | None = None, changes: Iterable[str] = ()) -> tuple[Path, str]:
    """Write a commented spec with this name to `NAME.yaml`; return its path, and what was read of the data, if any.

    data: a file of ratings, for which the spec is then written, with the schema for editors beside it; else it is the
    quickstart. changes: how to read the file, as `data.rating=stars`. InputError if the name is invalid or the file exists.
    """
    if name.endswith((".yaml", ".yml")):
        raise InputError(f"new {name}: give the name of the experiment, without .yaml")
    # Dumped as YAML, which quotes a name that looks like a number or a date.
    named = yaml.safe_dump({"name": name})
    quickstart = TEMPLATE.read_text(encoding="utf-8").replace("name: quickstart\n", named, 1)
    load_spec(yaml.safe_load(quickstart))
    path = Path(f"{name}.yaml")
    if path.exists():
        raise InputError(f"{path}: this file already exists; choose another name, or move the file")
    if data is None:
        if changes := list(changes):
            raise InputError(f"--set {changes[0]}: this says how to read a file; give the file with --data")
        write_whole(path, quickstart.encode())
        return path, ""
    section, dataset = look(data, changes)
    text = _text(named, section, dataset)
    load_spec(yaml.safe_load(text))
    write_schema(path.parent)
    write_whole(path, text.encode())
    return path, sentence(summary(dataset))


def _text(named: str, section: dict[str, Any], dataset: Dataset) -> str:
    """The spec for this data. named: its first line."""
    ranges, found = Ranges.of(dataset), summary(dataset)
    sampled = len(dataset.ratings) < MANY and 1 / OF_PRIOR < ranges.s < OF_PRIOR
    backends = ["numba", "als", *(["bmf"] if sampled else []), "mean"]
    timed = "; or {kind: temporal, valid: 0.1, test: 0.1}" if dataset.timestamps is not None else ""
    evaluation = _evaluation(found)
    read_twice = "of pairs that are rated more than once, the last rating" if found["duplicates"] else ""
    lines = [
        (f"# yaml-language-server: $schema={SCHEMA}", ""),
        (f"# {sentence(found)}.", ""),
        (f"# Their standard deviation s is {ranges.s:.3g}. The ranges are those for s = 1, with alpha divided by s, beta", ""),
        ("# times s and init times √s, so that SGD takes the same steps. `mfbench keys` explains all keys of a spec.", ""),
        (named.rstrip("\n"), ""),
        (f"data: {flow(section)}", read_twice),
        ("split: {kind: random, valid: 0.1, test: 0.1, seed: 7}", f"what is held out{timed}"),
        ("model:", "the first trial of each search has these values"),
        ("  backend: numba", ""),
        (f"  K: {round(middle(ranges.K))}", "number of factors"),
        (f"  alpha: {middle(ranges.alpha):g}", "step size"),
        (f"  beta: {middle(ranges.beta):g}", "L2 penalty"),
        (f"  epochs: {ranges.epochs}", "at most; a trial stops 10 epochs after its best valid RMSE"),
        ("  center: true", "predict deviations from the mean of the training ratings"),
        ("  bias: true", "learn a bias for each user and each item"),
        (f"  init: {{normal: {ranges.init:g}}}", "initial factors: their standard deviation"),
        ("  seed: 0", ""),
        ("sweep:", ""),
        ("  trials: 24", "per backend"),
        ("  batch: 6", "trials proposed together, which can run in parallel"),
        (f"  backends: {flow(backends)}", "`mfbench backends` lists all"),
        ("  space:", ""),
        (f"    K: {{int: {list(ranges.K)}, log: true}}", ""),
        (f"    alpha: {{float: {flow(list(ranges.alpha))}, log: true}}", f"0.001 / s to {ranges.top} / s"),
        (f"    beta: {{float: {flow(list(ranges.beta))}, log: true}}", "0.01 s to 0.5 s"),
        ("  spaces:", ""),
        ("    adam:", "for when you add it to backends: 0.001 √s to 0.03 √s"),
        (f"      alpha: {{float: {flow(list(ranges.adam_alpha))}, log: true}}", ""),
    ]  # fmt: skip
    if evaluation:
        lines.append((f"evaluation: {flow(evaluation)}", "which ratings are relevant, for precision, recall and the like"))
    return "".join(f"{text:<{COMMENTS_FROM}}{'# ' * bool(note)}{note}".rstrip() + "\n" for text, note in lines)


def _evaluation(found: dict[str, Any]) -> dict[str, Any]:
    """The upper quarter of the scale is relevant; 4 of 5 is the default. No lists with millions of users or items."""
    relevant = found["lowest"] + 0.75 * (found["highest"] - found["lowest"])
    chosen = {} if found["highest"] == 5 else {"relevant": float(f"{relevant:.3g}")}
    return {**chosen, **({"k": []} if max(found["users"], found["items"]) > 1_000_000 else {})}


def flow(value: Any) -> str:
    """As YAML in one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.strip()
