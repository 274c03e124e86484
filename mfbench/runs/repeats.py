"""Averaging the repeats of a run: the mean of their curves and metrics, with confidence intervals.

A repeat is the same spec with another fold or another seed, see `Spec.repeat`; each has a record of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import stdev
from typing import Any

import numpy as np

from mfbench.core.arrays import Floats64
from mfbench.runs.records import METRICS, Clocks, Interval, Outcome, Record
from mfbench.runs.scores import CURVES, Scores
from mfbench.spec import Spec

SEVERITY: tuple[Outcome, ...] = ("completed", "pruned", "diverged", "failed")


def averaged(records: Iterable[Record]) -> list[Record]:
    """One record per run, the mean of its repeats; the runs are in the order in which they first occur."""
    runs: dict[tuple[str, str, str, int], list[Record]] = {}
    for one in records:
        runs.setdefault((one.study, one.backend, one.stage, one.number), []).append(one)
    return [mean_of(sorted(repeats, key=lambda one: one.repeat)) for repeats in runs.values()]


def mean_of(repeats: Sequence[Record]) -> Record:
    """The record that represents all repeats of a run; a single repeat is returned unchanged. It is never written.

    Its curves are the means over the repeats at the epochs that all of them scored, so they end where the first of them
    stopped, and its best epoch is that of the mean curve. Its metrics are means too: for a trial at that best epoch, else
    of the repeats' own metrics; `intervals` has their confidence intervals. Its outcome is the worst of all repeats, by
    `SEVERITY`. Its clocks are the sums over the repeats. All other fields are those of the first repeat.
    """
    first = repeats[0]
    if len(repeats) == 1:
        return first
    worst = max(repeats, key=lambda one: SEVERITY.index(one.outcome))
    epochs = sorted(set.intersection(*(set(one.scores.epoch) for one in repeats)))
    aligned = [_at(one.scores, epochs) for one in repeats]
    scores = Scores(
        epoch=epochs,
        train_seconds=_mean([one.train_seconds for one in aligned]),
        **{name: _mean([getattr(one, name) for one in aligned]) for name in (*CURVES, "objective")},
    )
    best, objective = scores.best(first.objective) if worst.outcome in ("completed", "pruned") else None, first.objective.name
    values: dict[str, list[Any]] = {}
    for name in dict.fromkeys((*METRICS, *([objective] if first.stage == "trial" else []))):
        if first.stage == "trial" and best is not None and name in (*CURVES, objective) and scores.of(name):
            values[name] = [one.of(name)[best] for one in aligned]
        else:
            values[name] = [one.metric(name) for one in repeats]
    known = {name: each for name, each in values.items() if best is not None and None not in each}
    return first.changed(
        {
            "outcome": worst.outcome,
            "reason": worst.reason,
            "epochs": min(one.epochs for one in repeats),
            "scores": scores,
            "best_epoch": None if best is None else epochs[best],
            **{name: _mean([[value] for value in known[name]])[0] if name in known else None for name in METRICS},
            "evaluation": {
                name: _mean([[each] for each in values.get(name, [one.evaluation.get(name) for one in repeats])])[0]
                for name in first.evaluation
            },
            # A final run's valid metrics are those of its best trial in all repeats, so their intervals are the trial's too.
            "intervals": {name: interval(each) for name, each in known.items()} | first.intervals,
            "data": first.data.model_copy(update={"oracle": _oracle(repeats)}),
            "factors_digest": None,
            "clocks": Clocks(**{name: sum(getattr(one.clocks, name) for one in repeats) for name in Clocks.model_fields}),
            "started": min(one.started for one in repeats),
            "ended": max(one.ended for one in repeats),
            "seal": None,
        }
    )


def interval(values: Sequence[float]) -> Interval:
    """The 95 % t interval of the mean of n ≥ 2 values: half_width = t(0.975, n - 1) s / √n, s their standard deviation.

    It assumes independent values. Folds share most of their train parts, so their interval tends to be too narrow, and no
    unbiased estimate of the variance exists (Bengio and Grandvalet, JMLR 5, 2004).
    """
    from scipy.special import stdtrit  # the quantile of Student's t; scipy.stats would take half a second to import

    n = len(values)
    return Interval(half_width=float(stdtrit(n - 1, 0.975)) * stdev(values) / math.sqrt(n), n=n)


def whole_spec(records: Sequence[Record]) -> Spec:
    """The spec of a whole sweep, from its records: of the latest first repeat, without `fold` if they have several."""
    latest = max(records, key=lambda one: (-one.repeat, one.started)).spec
    if len({getattr(one.spec.split, "fold", None) for one in records}) == 1:
        return latest
    return latest.model_copy(update={"split": latest.split.model_copy(update={"fold": None})})


def _oracle(repeats: Sequence[Record]) -> dict[str, float]:
    """The mean over the repeats of the metrics that no model can beat, by metric; empty if the data does not know them."""
    each = [one.data.oracle for one in repeats]
    return {name: _mean([[oracle[name]] for oracle in each])[0] for name in each[0]}


def _at(scores: Scores, epochs: Sequence[int]) -> Scores:
    """The scores at these epochs only."""
    place = {epoch: k for k, epoch in enumerate(scores.epoch)}
    lists = {name: getattr(scores, name) for name in Scores.model_fields}
    return Scores(**{name: [values[place[epoch]] for epoch in epochs] if values else [] for name, values in lists.items()})


def _mean(rows: Sequence[Sequence[float | None]]) -> list[Any]:
    """The mean over the rows, None if any row has None; summed relative to the first row, so equal values stay exact."""
    table: Floats64 = np.array([[math.nan if value is None else value for value in row] for row in rows], dtype=np.float64)
    mean = table[0] + (table - table[0]).mean(axis=0)
    return [None if math.isnan(value) else value for value in mean.tolist()]
