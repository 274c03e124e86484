"""The key of a study: the spec's name and a digest of the fields that can change a result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mfbench.core.errors import SpecError
from mfbench.core.objective import list_length
from mfbench.spec.data import Data
from mfbench.spec.experiment import Spec
from mfbench.spec.model import FIRST, ModelSpec
from mfbench.spec.sweep import Sweep


def study_key(spec: Spec) -> str:
    """The key `name-digest` of a spec's study; the digest covers the fields that can change the result of a trial.

    The number of trials, `stop`, `side_by_side` and the list of backends are left out, so raising the number of trials resumes
    the study and adding a backend keeps the trials of the others. SpecError if the data file cannot be read; its content is
    part of the digest.

    >>> from mfbench.spec import load_spec
    >>> split = {"kind": "random", "valid": 0.1}
    >>> spec = load_spec({"name": "demo", "data": {"dataset": "planted-10k"}, "split": split, "sweep": {"trials": 20}})
    >>> study_key(spec)
    'demo-c55032c2'
    >>> study_key(load_spec(spec, ["sweep.trials=100"])) == study_key(spec)
    True
    >>> study_key(load_spec(spec, ["model.epochs=50"])) == study_key(spec)
    False
    """
    tree = _identity(spec)
    if spec.sweep:
        tree["sweep"].pop("trials")
        tree["sweep"].pop("backends")
        tree["sweep"].pop("side_by_side")
        tree["sweep"].pop("stop")
        sweep = tree["sweep"]
        for space in (sweep["space"], *sweep["spaces"].values(), *([sweep["grid"]] if sweep["grid"] else [])):
            space.update({name: space.get(name) for name in FIRST})  # the first specs always had these, null if unset
        for name in ("repeats", "sampler", "grid", "objectives"):  # newer keys; without the defaults, older keys stay valid
            if getattr(spec.sweep, name) == Sweep.model_fields[name].default:
                tree["sweep"].pop(name)
        if needed := _judging(spec):
            tree["sweep"]["evaluation"] = needed
        if spec.sweep.first_trial == "sampler":  # as it was for all studies before the key existed
            tree["sweep"].pop("first_trial")
        tree["model"].pop("backend")
    tree.pop("race")
    return _key(spec.name, tree)


def run_study_key(spec: Spec) -> str:
    """The study key of a single run, which does not depend on the sweep; SpecError if the data file cannot be read."""
    tree = _identity(spec)
    tree.pop("sweep")
    tree.pop("race")
    return _key(spec.name, tree)


def _judging(spec: Spec) -> dict[str, Any]:
    """What the values of the sweep's objective depend on, of the evaluation section; empty for errors of predictions.

    Not the code of a user's own metric: as with a backend, its records are set aside if that has changed.
    """
    asked, metric = spec.evaluation, spec.objective.removeprefix("valid_")
    if metric in asked.own:
        return {"extra": asked.own[metric], "relevant": asked.relevant, "k": max(asked.k, default=None)}
    return {"relevant": asked.relevant} if list_length(metric) else {}


def _identity(spec: Spec) -> dict[str, Any]:
    tree = spec.model_dump(mode="json", exclude={"evaluation"})
    # Fields that were added later are left out while they have their default, so that older studies keep their keys.
    for name in ("step", "decay", "patience"):
        if tree["model"][name] == ModelSpec.model_fields[name].default:
            tree["model"].pop(name)
    if spec.model.init.positive is None:
        tree["model"]["init"].pop("positive")
    for name in ("header", "wide", "duplicates"):
        if getattr(spec.data, name) == Data.model_fields[name].default or (name, spec.data.header) == ("header", True):
            tree["data"].pop(name)
    tree["data"].pop("entry")
    if spec.data.entry is not None:
        own = spec.data.entry.content() | ({"file": _digest(spec.data.entry.file)} if spec.data.entry.file else {})
        tree["data"]["entry"] = own
    if spec.data.file is not None:
        tree["data"]["file"] = _digest(spec.data.file)
    return tree


def _digest(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).expanduser().read_bytes()).hexdigest()
    except OSError as error:
        raise SpecError(f"data.file: {file} cannot be read ({error.strerror}); check the path") from None


def _key(name: str, tree: Mapping[str, Any]) -> str:
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
