"""A spec as it is read: YAML with changes, and one sentence for what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mfbench.core.errors import SpecError
from mfbench.spec.data import Data, Planted
from mfbench.spec.experiment import Evaluation, Race, Spec
from mfbench.spec.faults import fault
from mfbench.spec.model import Init, ModelSpec
from mfbench.spec.split import SPLITS
from mfbench.spec.sweep import Sweep

SpecSource = str | Path | Mapping[str, Any] | Spec
"""A YAML file, what stands in one, or a spec."""


def load_spec(source: SpecSource, changes: Iterable[str] = ()) -> Spec:
    """The spec in a YAML file or a mapping, with `changes` like `model.K=32` made first; SpecError says what is wrong."""
    if isinstance(source, Spec):
        where, tree = "spec", source.model_dump(mode="json", exclude_unset=True)
    elif isinstance(source, Mapping):
        where, tree = "spec", json.loads(json.dumps(source))
    else:
        where, tree = str(source), _read_yaml(Path(source))
    for change in changes:
        _set(tree, change)
    try:
        return Spec.model_validate(tree)
    except ValidationError as error:
        raise SpecError(f"{where}: {_sentence(error)}") from None


def load_model_spec(tree: Mapping[str, Any]) -> ModelSpec:
    """The model part of a spec alone; SpecError says what is wrong."""
    try:
        return ModelSpec.model_validate(tree)
    except ValidationError as error:
        raise SpecError(_sentence(error)) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: the spec cannot be read ({error.strerror}); give the path of a YAML file") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: this is not text; a spec is a YAML file in UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise SpecError(f"{path}{line}: this is not YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(tree, dict):
        raise SpecError(f"{path}: a spec is a YAML mapping with name, data, split, model and sweep")
    return tree


def _set(tree: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    if not equals:
        raise SpecError(f"--set {change}: write it as KEY=VALUE, e.g. model.K=32")
    *path, last = key.split(".")
    node = tree
    for step in path:
        node = node.setdefault(step, {})
        if not isinstance(node, dict):
            raise SpecError(f"--set {change}: {step} holds a value, not keys")
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise SpecError(f"--set {change}: the value {value!r} is not YAML") from None


def _sentence(error: ValidationError) -> str:
    """The first fault as `key: what is wrong`, and how many more there are."""
    steps, says, detail = fault(error)
    # pydantic names the chosen kind of a union (`split.random.valid`); the user wrote `split.valid`.
    if len(steps) > 1 and steps[0] == "split" and steps[1] in SPLITS:
        del steps[1]
    kind = {"space": 3, "spaces": 4}.get(steps[1], 9) if len(steps) > 1 and steps[0] == "sweep" else 9
    del steps[kind : kind + 1]
    if detail["type"] == "extra_forbidden":
        says = f"unknown key; known here are {', '.join(_known_keys(steps[:-1]))}"
        if steps[:-1] == ["model"]:
            says += " (a backend's own knobs stand under model.options.BACKEND)"
    elif detail["type"] == "union_tag_invalid":
        says = f"kind is {detail['ctx']['tag']!r}; it is one of {detail['ctx']['expected_tags']}"
    elif detail["type"] == "string_pattern_mismatch":
        says = f"{detail['input']!r} is not letters, digits, '.', '_' and '-' alone, a letter or digit first"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{'.'.join(steps) or 'the spec'}{'' if says.startswith('.') else ': '}{says}{more}"


def _known_keys(steps: list[str]) -> list[str]:
    known: dict[str, type[BaseModel]] = {
        "": Spec, "data": Data, "data.planted": Planted, "model": ModelSpec, "model.init": Init, "sweep": Sweep, "race": Race,
        "evaluation": Evaluation,
    }  # fmt: skip
    if steps[:1] == ["split"]:
        return sorted({name for kind in SPLITS.values() for name in kind.model_fields})
    model = known.get(".".join(steps))
    return list(model.model_fields) if model else ["int, float or choice", "log"]
