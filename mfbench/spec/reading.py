"""Loading a spec: reading the YAML, applying changes, and reporting the first error in one sentence."""

from __future__ import annotations

import json
import re
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
from mfbench.spec.sources.entry import DataEntry, Titles
from mfbench.spec.sources.own import with_entry
from mfbench.spec.sources.table import Wide
from mfbench.spec.split import SPLITS
from mfbench.spec.sweep import Sweep

SpecSource = str | Path | Mapping[str, Any] | Spec
"""The path of a YAML file, a mapping with the content of one, or a spec."""


def load_spec(source: SpecSource, changes: Iterable[str] = ()) -> Spec:
    """The spec in a YAML file or a mapping; SpecError if it is not valid.

    changes: as `model.K=32`, applied in order before the spec is validated; the value is parsed as YAML. A key with dots in it
    is quoted, as in `model.options."mine.py:Mine".rate=0.3`.

    >>> tree = {"name": "demo", "data": {"dataset": "planted-10k"}, "split": {"kind": "random", "valid": 0.1}}
    >>> spec = load_spec(tree, ["model.K=32"])
    >>> spec.model.K, spec.split.valid
    (32, 0.1)
    >>> load_spec(tree, ["model.K=0"])
    Traceback (most recent call last):
    mfbench.core.errors.SpecError: spec: model.K: input should be greater than or equal to 1, not 0
    """
    if isinstance(source, Spec):
        where, tree = "spec", source.model_dump(mode="json", exclude_unset=True)
    elif isinstance(source, Mapping):
        where, tree = "spec", as_json(source)
    else:
        where, tree = str(source), read_yaml(Path(source))
    for change in changes:
        if change.startswith("data.dataset=") and isinstance(tree.get("data"), dict):
            tree["data"].pop("entry", None)  # that of another data set
        _set(tree, change)
    if "datasets" in tree:
        raise SpecError(f"{where}: this is a suite, as it has the key datasets; run it with `mfbench suite`")
    tree = with_entry(tree, Path(source).parent if isinstance(source, str | Path) else None)
    try:
        return Spec.model_validate(tree)
    except ValidationError as error:
        raise SpecError(f"{where}: {_sentence(error)}") from None


def as_json(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the mapping; SpecError if it has values that YAML does not."""

    def refuse(value: object) -> None:
        raise SpecError(f"spec: a value of type {type(value).__name__} is not YAML; give a number, text, list or mapping")

    copied: dict[str, Any] = json.loads(json.dumps(tree, default=refuse))
    return copied


def load_model_spec(tree: Mapping[str, Any]) -> ModelSpec:
    """The model section of a spec by itself; SpecError if it is not valid."""
    try:
        return ModelSpec.model_validate(tree)
    except ValidationError as error:
        raise SpecError(_sentence(error)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; SpecError if there is none."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: the spec cannot be read ({error.strerror}); give the path of a YAML file") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: the spec is not valid UTF-8; save it as UTF-8 text") from None
    except (ValueError, RecursionError) as error:  # a number, or a nesting, that Python has no room for
        raise SpecError(f"{path}: the spec cannot be read ({error}); shorten its values") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        why = " ".join(str(getattr(error, "problem", None) or error).split())
        raise SpecError(f"{path}{line}: the spec is not valid YAML: {why}") from None
    if not isinstance(tree, dict):
        raise SpecError(f"{path}: the spec is not a YAML mapping; give at least the keys name, data and split")
    return tree


def _set(tree: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    if not equals:
        raise SpecError(f"--set {change}: the = is missing; write it as KEY=VALUE, e.g. model.K=32")
    *path, last = _steps(key)
    node = tree
    for step in path:
        node = node.setdefault(step, {})
        if not isinstance(node, dict):
            raise SpecError(f"--set {change}: {step} is a value without keys of its own; set {step} itself")
    try:
        node[last] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise SpecError(f"--set {change}: the value {value!r} is not valid YAML; quote it if it is text") from None


def _steps(key: str) -> list[str]:
    """The keys of a path such as `model.K`. One that contains dots is quoted, but a shell may have removed the quotes of a
    user's own backend.

    >>> _steps('model.options."my/own.py:Mine".rate'), _steps("sweep.spaces.my.own:Mine.rate.float")
    (['model', 'options', 'my/own.py:Mine', 'rate'], ['sweep', 'spaces', 'my.own:Mine', 'rate', 'float'])
    """
    key = re.sub(r"""^(model\.options|sweep\.spaces)\.([^"':]+:\w+)""", r'\1."\2"', key)
    return ["".join(step) for step in re.findall(r"""(?:^|\.)(?:"([^"]*)"|'([^']*)'|([^.]*))""", key)]


def _sentence(error: ValidationError) -> str:
    """The first validation error as `key: message`, followed by the number of further errors."""
    steps, says, detail = fault(error)
    # pydantic puts the tag of a union into the path (`split.random.valid`), but the user wrote `split.valid`; likewise
    # within `sweep.space.K` and `sweep.spaces.BACKEND.K`, where the tag follows the name of the hyperparameter.
    if len(steps) > 1 and steps[0] == "split" and steps[1] in SPLITS:
        del steps[1]
    if len(steps) > 1 and steps[0] == "sweep" and steps[1] in ("space", "spaces"):
        tag = {"space": 3, "spaces": 4}[steps[1]]
        del steps[tag : tag + 1]
    if detail["type"] == "extra_forbidden":
        says = f"unknown key; choose from {', '.join(_known_keys(steps[:-1]))}"
        if steps[:-1] == ["model"]:
            says += " (a backend's own options go under model.options.BACKEND)"
    elif detail["type"] == "union_tag_invalid":
        says = f"unknown kind {detail['ctx']['tag']!r}; choose from {', '.join(SPLITS)}"
    elif detail["type"] == "union_tag_not_found":
        says = f"the key kind is missing; choose from {', '.join(SPLITS)}"
    elif detail["type"] == "string_pattern_mismatch":
        says = f"{detail['input']!r} must start with a letter or digit and contain only letters, digits, '.', '_' and '-'"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{'.'.join(steps) or 'the spec'}{'' if says.startswith('.') else ': '}{says}{more}"


def _known_keys(steps: list[str]) -> list[str]:
    known: dict[str, type[BaseModel]] = {
        "": Spec, "data": Data, "data.planted": Planted, "data.wide": Wide, "data.entry": DataEntry,
        "data.entry.titles": Titles, "data.entry.wide": Wide, "model": ModelSpec, "model.init": Init,
        "sweep": Sweep, "race": Race, "evaluation": Evaluation,
    }  # fmt: skip
    if steps[:1] == ["split"]:
        return sorted({name for kind in SPLITS.values() for name in kind.model_fields})
    model = known.get(".".join(steps))
    return list(model.model_fields) if model else ["int, float or choice", "log"]
