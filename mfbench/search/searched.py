"""The search audit of one backend, computed from the records of its trials alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from mfbench.core.objective import Objective
from mfbench.runs.records import Record
from mfbench.search.edges import Edge, as_yaml, edge_of, plain, wider
from mfbench.search.sampling.finished import Finished, best_of
from mfbench.search.sampling.optuna_trials import ENOUGH, importance
from mfbench.spec import NumberRange, Space, Sweep

GAIN = 0.001
"""A search is still gaining if its last quarter improved the best value by more than this share of it."""
LEAST_SHOWN = 0.0001
"""The smallest gain that is shown as a number."""
STOP = 20
"""The `sweep.stop` that the audit examines for a sweep that has none."""


@dataclass(frozen=True)
class Divergence:
    """All trials that diverged had `name` at `least` or more; `spared` other trials did too, but did not diverge."""

    name: str
    least: float
    spared: int


@dataclass(frozen=True)
class Searched:
    """The trials of one backend, in order, the search space restricted to the hyperparameters it uses, and the sweep."""

    backend: str
    space: Space
    trials: list[Record]
    sweep: Sweep

    @staticmethod
    def of(backend: str, trials: list[Record], sweep: Sweep) -> Searched:
        """Combine the trials of a backend with its part of the sweep's search space."""
        used = {name for trial in trials for name in trial.hyper}
        space = {name: given for name, given in sweep.space_of(backend).items() if name in used}
        return Searched(backend, space, trials, sweep)

    def ended(self, outcome: str) -> int:
        """The number of trials with that outcome."""
        return sum(trial.outcome == outcome for trial in self.trials)

    @property
    def epochs(self) -> int:
        """The number of epochs trained, over all trials."""
        return sum(trial.epochs for trial in self.trials)

    @property
    def seconds(self) -> float:
        """Seconds of compiling, training and scoring, over all trials."""
        return sum(trial.clocks.search_seconds for trial in self.trials)

    @property
    def _ranges(self) -> dict[str, NumberRange]:
        """The numeric ranges of the search space; choices have no bounds."""
        return {name: given for name, given in self.space.items() if isinstance(given, NumberRange)}

    @cached_property
    def edges(self) -> list[Edge]:
        """The hyperparameters of the best trial that lie at a bound of their range."""
        best = best_of(self.trials)
        found = [edge_of(name, _number(best, name), given) for name, given in self._ranges.items()] if best else []
        return [edge for edge in found if edge]

    @cached_property
    def divergence(self) -> Divergence | None:
        """The hyperparameter that best separates the trials that diverged from the others; ties go to alpha, beta, then K.

        None if nothing diverged, or no single hyperparameter separates them. One that is as large in the best trial does not:
        the advice to lower its upper bound would leave that trial out.
        """
        found, best_trial = [], best_of(self.trials)
        for name in sorted(self._ranges, key=lambda name: (name != "alpha", name != "beta", name != "K")):
            diverged, others = (
                [_number(trial, name) for trial in self.trials if trial.outcome in outcomes]
                for outcomes in (("diverged",), ("completed", "pruned"))
            )
            if diverged and (best_trial is None or _number(best_trial, name) < min(diverged)):
                found.append(Divergence(name, min(diverged), sum(value >= min(diverged) for value in others)))
        best = min(found, key=lambda divergence: divergence.spared, default=None)
        return best if best and best.spared <= self.ended("diverged") else None

    @cached_property
    def importance(self) -> dict[str, float] | None:
        """See `optuna_trials.importance`."""
        return importance(self.space, [Finished.of(trial) for trial in self.trials])

    @property
    def last(self) -> int:
        """The number of trials in the last quarter."""
        return len(self.trials) // 4

    @property
    def objective(self) -> Objective:
        """The objective of the trials."""
        return self.trials[0].objective

    @cached_property
    def before(self) -> float | None:
        """The best value of the objective before the last quarter of the trials."""
        best = best_of(self.trials[: len(self.trials) - self.last])
        return best.judged if best else None

    @cached_property
    def after(self) -> float | None:
        """The best value of the objective of all trials."""
        best = best_of(self.trials)
        return best.judged if best else None

    @cached_property
    def gain(self) -> float | None:
        """By how much the last quarter improved the best value; None if no trial completed before it, or it is empty."""
        if not self.last or self.before is None or self.after is None:
            return None
        return self.objective.cost(self.before) - self.objective.cost(self.after)

    @cached_property
    def still_gaining(self) -> bool:
        """Whether more trials are likely to find better ones."""
        if self.after is None or self.gain is None:
            return self.after is not None and self.before is None
        return self.gain > GAIN * abs(self.after)

    def more_trials(self) -> str:
        """Whether more trials would help, as a sentence."""
        n, more = len(self.trials), f"more trials will probably find better ones, as with `--trials {2 * len(self.trials)}`"
        if self.gain is None:
            if self.still_gaining:
                among = f"among the last {self.last}" if self.last > 1 else "the last"
                return f"the first trial that completed is {among} of {n}: {more}"
            return f"{self.ended('completed')} of {n} trials completed: too few to tell whether more would help"
        last = f"the last {self.last} of {n} trials" if self.last > 1 else f"the last of {n} trials"
        if self.still_gaining:
            return f"{last} still improved the best result, from {self.before:.4f} to {self.after:.4f}: {more}"
        if not self.gain:
            finding = f"{last} found nothing better than {self.after:.4f}"
        elif self.gain < LEAST_SHOWN:
            finding = f"{last} improved the best result, {self.after:.4f}, by less than {LEAST_SHOWN:.4f}"
        else:
            finding = f"{last} improved the best result only from {self.before:.4f} to {self.after:.4f}"
        if n < ENOUGH:
            return f"{finding}, but {n} trials are too few to tell whether more would help"
        return f"{finding}: more trials will hardly help"

    @cached_property
    def stopped(self) -> Searched | None:
        """This search as the sweep's `stop`, or STOP if it has none, leaves it; None if that does not end it."""
        best: Record | None = None
        for end in range(self.sweep.batch, len(self.trials) + 1, self.sweep.batch):
            batch = self.trials[end - self.sweep.batch : end]
            best = best_of([*([best] if best else []), *batch])
            if best and batch[-1].number - best.number >= (self.sweep.stop or STOP):
                return replace(self, trials=self.trials[:end])
        return None

    def fewer_trials(self) -> str:
        """What a `sweep.stop` would have saved, or that it has ended the search."""
        rule = f"`sweep.stop: {self.sweep.stop or STOP}`"
        if self.stopped is None:
            return f"no: {rule} does not end the search"
        n = len(self.stopped.trials)
        if n == len(self.trials):
            return f"{rule} {'ended' if self.sweep.stop else 'ends'} the search after these {n} trials"
        saved = 1 - self.stopped.epochs / self.epochs
        found = f"{self.objective.title} {self.stopped.after:.4f} instead of {self.after:.4f}"
        return f"{rule} ends the search after {n} trials, with {found} and {saved:.0%} fewer epochs"

    def warnings(self) -> list[str]:
        """The findings for this backend, with what to try."""
        found = [edge.sentence() for edge in self.edges]
        if self.ended("diverged"):
            found.append(self._divergence())
        if self.ended("failed"):
            found.append(f"{self.ended('failed')} of {len(self.trials)} trials failed; see `reason` in their records")
        if self.still_gaining and not (self.sweep.stop and self.stopped):
            found.append(self.more_trials())
        return [f"{self.backend}: {sentence}" for sentence in found]

    def _divergence(self) -> str:
        finding = f"{self.ended('diverged')} of {len(self.trials)} trials diverged"
        if best_of(self.trials) is None and (alpha := self._ranges.get("alpha")):
            lower = wider(alpha, "lower")
            return f"{finding} and none completed" + (f": try alpha: {as_yaml(lower)}" if lower else "")
        if self.divergence is None:
            return f"{finding}; no single hyperparameter explains the divergence"
        name, least, spared = self.divergence.name, plain(self.divergence.least), self.divergence.spared
        others = f"as {'was' if spared == 1 else 'were'} {spared} that did not diverge" if spared else "and no other trial was"
        they = "all " if self.ended("diverged") > 1 else ""
        return f"{finding}, {they}with {name} at {least} or more, {others}: lower the upper bound of {name} below {least}"

    def summary(self) -> dict[str, Any]:
        """The audit of this backend in the output of `--json`."""
        return {
            "backend": self.backend,
            "trials": len(self.trials),
            **{outcome: self.ended(outcome) for outcome in ("completed", "pruned", "diverged", "failed")},
            "epochs": self.epochs,
            "search_seconds": self.seconds,
            "edges": [edge.summary() for edge in self.edges],
            "divergence": asdict(self.divergence) if self.divergence else None,
            "importance": self.importance,
            "stop": {
                "rule": self.sweep.stop or STOP,
                "trials": len(self.stopped.trials) if self.stopped else None,
                "epochs": self.stopped.epochs if self.stopped else None,
                self.objective.name: self.stopped.after if self.stopped else None,
            },
            "last_quarter": {"trials": self.last, "before": self.before, "after": self.after, "gain": self.gain},
        }


def _number(trial: Record, name: str) -> float:
    value = trial.hyper[name]
    assert not isinstance(value, str)
    return value
