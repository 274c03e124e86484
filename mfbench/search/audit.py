"""The search audit: diagnoses of a finished search, and what to try next, computed from its records alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.table import Table

from mfbench.core import tables
from mfbench.core.inert import sentence_in_markdown
from mfbench.data.sealed import other_openers, worn
from mfbench.runs.records import Record
from mfbench.search.sampling.optuna_trials import ENOUGH
from mfbench.search.searched import LEAST_SHOWN, Searched
from mfbench.spec import COMPARING, Sweep

UNEVEN_EPOCHS, UNEVEN_SECONDS = 1.5, 3.0
"""The audit reports a backend that took more than this many times the epochs or seconds of another."""


@dataclass(frozen=True)
class Audit:
    """The audit of a sweep: `searched` for each backend with a search space, and who has used the test part.

    openings: the other studies that have opened the test part with this digest.
    """

    study: str
    test_digest: str | None
    openings: list[str]
    searched: list[Searched]

    def sentences(self) -> list[str]:
        """All findings: what is wrong, where, and what to try."""
        return [*self.warnings(), *self._seconds()]

    def warnings(self) -> list[str]:
        """The findings that do not depend on run times, so a repeated sweep gives the same ones."""
        found = [sentence for search in self.searched for sentence in search.warnings()]
        trials = {search.backend: len(search.trials) for search in self.searched}
        epochs = {search.backend: search.epochs for search in self.searched}
        uneven = len(set(trials.values())) > 1
        if uneven and not any(search.sweep.stop for search in self.searched):
            found.append(
                f"the backends ran different numbers of trials ({_listed(trials)}), so their best scores are not comparable:"
                f" resume with `--trials {max(trials.values())}`, or make the grids equally large"
            )
        pruned = any(search.sweep.pruner in COMPARING for search in self.searched)
        if pruned and not uneven and _spread(epochs) > UNEVEN_EPOCHS:
            found.append(
                f"same number of trials, but different numbers of epochs ({_listed(epochs)}), because trials that were pruned"
                " or diverged ended early: set `sweep.pruner: patience` to stop trials by their own curves alone"
            )
        return [*found, *worn(self.test_digest, self.openings)]

    def summary(self) -> dict[str, Any]:
        """The audit in the output of `--json`."""
        return {"backends": [search.summary() for search in self.searched], "warnings": self.warnings()}

    def importances(self) -> dict[str, dict[str, float]]:
        """Hyperparameter importances by backend, for those with enough completed trials."""
        return {search.backend: search.importance for search in self.searched if search.importance}

    def table(self) -> Table:
        """One row per backend, for the terminal."""
        return tables.drawn("search audit", *self.cells())

    def markdown(self) -> str:
        """The whole audit as a Markdown page."""
        page = f"# Search audit of {self.study}\n\n{tables.markdown(*self.cells())}"
        lists = {
            "What to look at": self.sentences(),
            "Would more trials help?": [f"{search.backend}: {search.more_trials()}" for search in self.searched],
            "Would fewer have done?": [f"{search.backend}: {search.fewer_trials()}" for search in self.searched],
            "Other studies that have opened the same test part": self.openings,
        }
        for title, sentences in lists.items():
            lines = map(sentence_in_markdown, sentences or ["none"])
            page += f"\n## {title}\n\n" + "".join(f"- {line}\n" for line in lines)
        return page

    def _seconds(self) -> list[str]:
        seconds = {search.backend: search.seconds for search in self.searched}
        if _spread(seconds) <= UNEVEN_SECONDS:
            return []
        slow, fast = max(seconds, key=seconds.__getitem__), min(seconds, key=seconds.__getitem__)
        same = "same number of trials, but " if len({len(search.trials) for search in self.searched}) == 1 else ""
        ratio = f"{seconds[slow] / seconds[fast]:.1f} times as long as {fast}"
        return [f"{same}{slow} took {ratio} ({seconds[slow]:.2f} s against {seconds[fast]:.2f} s)"]

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Header and body of `table` as text, one row per backend."""
        columns: dict[str, Callable[[Searched], str]] = {
            "backend": lambda search: search.backend,
            "trials": lambda search: str(len(search.trials)),
            "completed": lambda search: str(search.ended("completed")),
            "pruned": lambda search: str(search.ended("pruned")),
            "diverged": lambda search: str(search.ended("diverged")),
            "failed": lambda search: str(search.ended("failed")),
            "epochs": lambda search: str(search.epochs),
            "at edge": lambda search: ", ".join(edge.name for edge in search.edges) or "–",
            "importance": _importance,
            "better in last ¼": _gain,
            "search s": lambda search: f"{search.seconds:.2f}",
        }
        return list(columns), [[cell(search) for cell in columns.values()] for search in self.searched]


def audit(trials: Sequence[Record], sweep: Sweep | None = None) -> Audit:
    """Audit the trials of one sweep, in any order; who has opened its test part is read from the logs under runs/.

    sweep: by default that of the first trial.
    """
    first, by_backend = trials[0], sorted(trials, key=lambda trial: (trial.backend, trial.number))
    sweep, test_digest = sweep or first.spec.sweep, first.data.test_digest
    assert sweep is not None
    searched = [Searched.of(name, list(own), sweep) for name, own in groupby(by_backend, key=lambda trial: trial.backend)]
    others = other_openers(test_digest, first.study)
    return Audit(first.study, test_digest, others, [search for search in searched if search.space])


def _importance(search: Searched) -> str:
    if search.importance is None:
        return f"needs {ENOUGH} completed"
    return ", ".join(f"{name} {share:.2f}" for name, share in search.importance.items())


def _gain(search: Searched) -> str:
    """By how much the best result improved in the last quarter of the trials."""
    if search.gain is None:
        return "–"
    if not search.gain:
        return "no"
    return f"by {search.gain:.4f}" if search.gain >= LEAST_SHOWN else f"by <{LEAST_SHOWN:.4f}"


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{backend} {number:,}" for backend, number in numbers.items())


def _spread(numbers: Mapping[str, float]) -> float:
    """The ratio of the largest to the smallest number; 1 if there are none or the smallest is 0."""
    least = min(numbers.values(), default=0.0)
    return max(numbers.values()) / least if least else 1.0
