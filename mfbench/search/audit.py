"""The search audit: what a finished search says about itself, and what to try next. A function of its records alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.table import Table

from mfbench.core import tables
from mfbench.data.sealed import other_openers, worn
from mfbench.runs.records import Record
from mfbench.search.proposals import ENOUGH
from mfbench.search.searched import Searched

UNEVEN_EPOCHS, UNEVEN_SECONDS = 1.5, 3.0
"""So many times the least of any backend is worth a sentence."""


@dataclass(frozen=True)
class Audit:
    """The audit of a sweep: of each backend that has something to search, and of the test part.

    openings: the other studies that have opened the test part with the same cells.
    """

    study: str
    test_digest: str | None
    openings: list[str]
    searched: list[Searched]

    def sentences(self) -> list[str]:
        """All that is worth a person's attention: what, where, and what to try."""
        return [*self.warnings(), *self._seconds()]

    def warnings(self) -> list[str]:
        """The sentences with no clock in them: the same whenever the same sweep is run again."""
        told = [sentence for one in self.searched for sentence in one.warnings()]
        trials = {one.backend: len(one.trials) for one in self.searched}
        epochs = {one.backend: one.epochs for one in self.searched}
        if len(set(trials.values())) > 1:
            told.append(
                f"the backends had not the same number of trials ({_listed(trials)}), so their bests are not of one budget:"
                f" go on with `--trials {max(trials.values())}`, or give grids as many points"
            )
        elif _spread(epochs) > UNEVEN_EPOCHS:
            told.append(
                f"same number of trials, but not of epochs ({_listed(epochs)}), since trials that were pruned or diverged"
                " ended early: `sweep.pruner: none` gives each trial all of them"
            )
        return [*told, *worn(self.test_digest, self.openings)]

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {"backends": [one.summary() for one in self.searched], "warnings": self.warnings()}

    def importances(self) -> dict[str, dict[str, float]]:
        """By backend, of those that have enough trials."""
        return {one.backend: one.importance for one in self.searched if one.importance}

    def table(self) -> Table:
        """A line a backend, for a terminal."""
        return tables.drawn("search audit", *self.cells())

    def markdown(self) -> str:
        """All of it as a page of Markdown."""
        page = f"# Search audit of {self.study}\n\n{tables.markdown(*self.cells())}"
        lists = {
            "What to look at": self.sentences(),
            "Would more trials help?": [f"{one.backend}: {one.more_trials()}" for one in self.searched],
            "Other studies that have opened the same test part": self.openings,
        }
        for title, sentences in lists.items():
            page += f"\n## {title}\n\n" + "".join(f"- {sentence}\n" for sentence in sentences or ["none"])
        return page

    def _seconds(self) -> list[str]:
        seconds = {one.backend: one.seconds for one in self.searched}
        if _spread(seconds) <= UNEVEN_SECONDS:
            return []
        slow, quick = max(seconds, key=seconds.__getitem__), min(seconds, key=seconds.__getitem__)
        same = "same number of trials, but " if len({len(one.trials) for one in self.searched}) == 1 else ""
        times = f"{seconds[slow] / seconds[quick]:.1f} times the seconds of {quick}"
        return [f"{same}{slow} took {times} ({seconds[slow]:.2f} against {seconds[quick]:.2f})"]

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Header and body as text, a line a backend."""
        columns: dict[str, Callable[[Searched], str]] = {
            "backend": lambda one: one.backend,
            "trials": lambda one: str(len(one.trials)),
            "completed": lambda one: str(one.ended("completed")),
            "pruned": lambda one: str(one.ended("pruned")),
            "diverged": lambda one: str(one.ended("diverged")),
            "failed": lambda one: str(one.ended("failed")),
            "epochs": lambda one: str(one.epochs),
            "at edge": lambda one: ", ".join(edge.name for edge in one.edges) or "–",
            "importance": _importance,
            "last ¼ gained": lambda one: "–" if one.gain is None else f"{one.gain:.4f}",
            "search s": lambda one: f"{one.seconds:.2f}",
        }
        return list(columns), [[cell(one) for cell in columns.values()] for one in self.searched]


def audit(trials: Sequence[Record]) -> Audit:
    """The audit of the trials of one sweep, whatever their order, and of the openings of its test part logged under runs/."""
    first, by_backend = trials[0], sorted(trials, key=lambda trial: (trial.backend, trial.number))
    sweep, test_digest = first.spec.sweep, first.data.test_digest
    assert sweep is not None
    found = [Searched.of(backend, list(own), sweep) for backend, own in groupby(by_backend, key=lambda trial: trial.backend)]
    others = other_openers(test_digest, first.study)
    return Audit(first.study, test_digest, others, [one for one in found if one.space])


def _importance(one: Searched) -> str:
    if one.importance is None:
        return f"needs {ENOUGH} completed"
    return ", ".join(f"{name} {share:.2f}" for name, share in one.importance.items())


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{backend} {number:,}" for backend, number in numbers.items())


def _spread(numbers: Mapping[str, float]) -> float:
    """The largest over the smallest; 1 where there is nothing to compare."""
    least = min(numbers.values(), default=0.0)
    return max(numbers.values()) / least if least else 1.0
