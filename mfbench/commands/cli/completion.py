"""What a shell completes: run keys, spec files, experiments, names of backends. Reads file names, and loads nothing slow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from mfbench.core.paths import RUNS

PLAIN = ("run", "final", "floor")
"""The stages of runs that keep a model."""


def specs(incomplete: str) -> list[str]:
    """The spec files here and one folder below."""
    return _matching(incomplete, _specs())


def specs_and_experiments(incomplete: str) -> list[str]:
    """Spec files, then experiments that have run."""
    return _matching(incomplete, [*_specs(), *_experiments()])


def anything_compared(incomplete: str) -> list[str]:
    """Spec files, experiments, and the runs of a study whose key is complete."""
    return _matching(incomplete, [*_specs(), *_experiments(), *(_runs(PLAIN) if "/" in incomplete else [])])


def models(incomplete: str) -> list[str]:
    """The keys of runs that keep a model."""
    return _matching(incomplete, _runs(PLAIN))


def runs(incomplete: str) -> list[str]:
    """The keys of runs; those of trials once the study is complete, since there may be thousands."""
    return _matching(incomplete, _runs((*PLAIN, "trial") if "/" in incomplete else PLAIN))


def backends(ctx: typer.Context, incomplete: str) -> list[str]:
    """The backends of the spec that is on the command line."""
    import yaml

    words = [ctx.params.get("spec"), *ctx.args]  # the parser leaves it among the rest, as the option has no value yet
    try:
        tree = yaml.safe_load(Path(next(filter(None, words), "")).read_text(encoding="utf-8"))
        names = tree["sweep"]["backends"]
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):  # no spec yet, or not a good one
        return []
    return _matching(incomplete, [name for name in names if isinstance(name, str)])


def datasets(incomplete: str) -> list[str]:
    """The names of the catalogue."""
    from mfbench.data.catalogue import catalogue

    return _matching(incomplete, [entry.name for entry in catalogue()])


def _matching(incomplete: str, names: Any) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _specs() -> list[str]:
    found = [*Path().glob("[!.]*.y*ml"), *Path().glob("[!.]*/[!.]*.y*ml")]
    return sorted(str(path) for path in found if path.suffix in (".yaml", ".yml"))


def _experiments() -> list[str]:
    return sorted({path.name.rpartition("-")[0] for path in RUNS.glob("[!.]*-*") if path.is_dir()})


def _runs(stages: tuple[str, ...]) -> Iterator[str]:
    """Run keys, made from the paths of records; a user's own backend has another name in its path, and is left out."""
    for path in sorted(RUNS.glob("[!.]*-*/*/*-*.json")):
        stage, number, *repeat = path.stem.split("-")
        study, backend = path.parts[-3:-1]
        if stage in stages and not backend.count(".py_"):
            yield "/".join([study, backend, str(int(number)), stage, *(one.removeprefix("r") for one in repeat)])
