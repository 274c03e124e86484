"""What a suite says: a spec with several data sets in place of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator

from mfbench.core.errors import SpecError
from mfbench.core.paths import without_places
from mfbench.spec import Spec, load_spec
from mfbench.spec.experiment import Name
from mfbench.spec.faults import fault
from mfbench.spec.fields import Seed, Strict
from mfbench.spec.reading import as_json, read_yaml
from mfbench.spec.split import SPLITS

SuiteSource = str | Path | Mapping[str, Any]
"""The path of a YAML file, or a mapping with the content of one."""


class _Suite(Strict):
    """The keys that a suite has besides those of a spec, see `load_suite`."""

    name: Name
    datasets: dict[Name, dict[str, Any] | None] = Field(min_length=1)
    seeds: list[Seed] = Field(default=[])

    @field_validator("datasets", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """A list is of names of the catalogue."""
        return dict.fromkeys(given) if isinstance(given, list) and all(isinstance(one, str) for one in given) else given

    @field_validator("seeds")
    @classmethod
    def _once_each(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ValueError(f"{seeds} lists a seed twice; list each once")
        return seeds


@dataclass(frozen=True)
class Member:
    """One sweep of a suite: the name that the suite has for its data set, its seed (None: the spec's own), and its spec."""

    dataset: str
    seed: int | None
    spec: Spec


@dataclass(frozen=True)
class Suite:
    """A suite and its sweeps, data set by data set. text: the suite as it was given, as YAML."""

    name: str
    members: list[Member]
    text: str

    @property
    def datasets(self) -> list[str]:
        """The names of its data sets, in their order."""
        return list(dict.fromkeys(member.dataset for member in self.members))

    @property
    def backends(self) -> list[str]:
        """The backends of all its sweeps, in their order."""
        return list(dict.fromkeys(name for member in self.members for name in member.spec.backends()))


def is_suite(source: SuiteSource) -> bool:
    """Whether this is a suite and not a spec."""
    if isinstance(source, Mapping):
        return "datasets" in source
    return str(source).endswith((".yaml", ".yml")) and "datasets" in read_yaml(Path(source))


def load_suite(source: SuiteSource, changes: Iterable[str] = ()) -> Suite:
    """The suite in a YAML file or a mapping; SpecError if it is not valid.

    A suite has the keys of a spec, with `datasets` in place of `data`: by name, the keys of the spec that are different for
    this data set, at least `data`; without any, the name is one of the catalogue. `seeds`: each sweep is made once with each
    of these as the seed of its split and of its model. changes: to all its specs, as for `load_spec`.

    >>> suite = load_suite({
    ...     "name": "demo",
    ...     "datasets": {"planted-10k": None, "tiny": {"data": {"planted": {"users": 40, "items": 30, "ratings": 300}}}},
    ...     "split": {"kind": "random", "valid": 0.1, "test": 0.1},
    ...     "seeds": [7, 8],
    ...     "sweep": {"trials": 4, "backends": ["als", "mean"]},
    ... })
    >>> [(member.spec.name, member.spec.split.seed) for member in suite.members][1:3]
    [('demo.planted-10k.8', 8), ('demo.tiny.7', 7)]
    """
    where = "suite" if isinstance(source, Mapping) else str(source)
    tree = as_json(source) if isinstance(source, Mapping) else read_yaml(Path(source))
    if "datasets" not in tree:
        raise SpecError(f"{where}: this is no suite, as the key datasets is missing; add it, or use `mfbench sweep`")
    if "data" in tree:
        raise SpecError(f"{where}: data: a suite has datasets in place of data; move it there, under a name")
    text = without_places(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
    own = {key: tree.pop(key) for key in _Suite.model_fields if key in tree}
    try:
        suite = _Suite.model_validate(own)
    except ValidationError as error:
        found = fault(error)
        raise SpecError(f"{where}: {found.key}: {found.says}") from None
    return Suite(suite.name, list(_members(suite, tree, list(changes), where)), text)


def _members(suite: _Suite, template: dict[str, Any], changes: list[str], where: str) -> Iterator[Member]:
    for dataset, differs in suite.datasets.items():
        seeds: list[int] | list[None] = suite.seeds or [None]
        for seed in seeds:
            tree = _merged(template, differs or {"data": {"dataset": dataset}})
            tree["name"] = ".".join([suite.name, dataset, *([str(seed)] if seed is not None else [])])
            if seed is not None:
                _put_seed(tree, seed)
            try:
                spec = load_spec(tree, changes)
            except SpecError as error:
                raise SpecError(f"{where}: {dataset}: {str(error).removeprefix('spec: ')}") from None
            if spec.sweep is None:
                raise SpecError(f"{where}: the section sweep is missing; a suite compares tuned backends, so add it")
            yield Member(dataset, seed, spec)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings as a new one; where both have a value it is that of `over`, and two mappings are merged likewise."""
    merged = {**under, **over}
    for key in under.keys() & over.keys():
        if isinstance(under[key], Mapping) and isinstance(over[key], Mapping):
            merged[key] = _merged(under[key], over[key])
    return {key: _merged(value, {}) if isinstance(value, Mapping) else value for key, value in merged.items()}


def _put_seed(tree: dict[str, Any], seed: int) -> None:
    """Give the model this seed, and the split if it is random."""
    model, split = tree.setdefault("model", {}), tree.get("split")
    if isinstance(model, dict):
        model["seed"] = seed
    if isinstance(split, dict) and "seed" in getattr(SPLITS.get(str(split.get("kind"))), "model_fields", {}):
        split["seed"] = seed
