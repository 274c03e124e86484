"""The key of a study: the spec's name and a digest of what can change a result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mfbench.core.errors import SpecError
from mfbench.spec.experiment import Spec
from mfbench.spec.model import FIRST, ModelSpec
from mfbench.spec.sweep import Sweep


def study_key(spec: Spec) -> str:
    """`name-digest` over the fields that can change a result of a study.

    The number of trials and the list of backends are left out: a study goes on with more trials, and another backend is
    another study beside the ones that are there.
    """
    tree = _identity(spec)
    if spec.sweep:
        tree["sweep"].pop("trials")
        tree["sweep"].pop("backends")
        tree["sweep"].pop("side_by_side")
        sweep = tree["sweep"]
        for space in (sweep["space"], *sweep["spaces"].values(), *([sweep["grid"]] if sweep["grid"] else [])):
            space.update({name: space.get(name) for name in FIRST})  # as they stood before there were others
        for name in ("repeats", "sampler", "grid", "objectives"):  # at its default, the study of those who know of no other
            if getattr(spec.sweep, name) == Sweep.model_fields[name].default:
                tree["sweep"].pop(name)
        tree["model"].pop("backend")
    tree.pop("race")
    return _key(spec.name, tree)


def run_study_key(spec: Spec) -> str:
    """The study key of a plain run: the sweep has no part in it."""
    tree = _identity(spec)
    tree.pop("sweep")
    tree.pop("race")
    return _key(spec.name, tree)


def _identity(spec: Spec) -> dict[str, Any]:
    tree = spec.model_dump(mode="json", exclude={"evaluation"})
    for name in ("step", "decay"):  # at its default, the study of those who know of no other
        if tree["model"][name] == ModelSpec.model_fields[name].default:
            tree["model"].pop(name)
    if spec.model.init.positive is None:
        tree["model"]["init"].pop("positive")
    if spec.data.file is not None:
        try:
            tree["data"]["file"] = hashlib.sha256(Path(spec.data.file).expanduser().read_bytes()).hexdigest()
        except OSError as error:
            raise SpecError(f"data.file: {spec.data.file} cannot be read ({error.strerror})") from None
    return tree


def _key(name: str, tree: Mapping[str, Any]) -> str:
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
