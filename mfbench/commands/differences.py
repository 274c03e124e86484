"""What differs between a recorded run and its re-run: before it in code, data and machine, after it in the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mfbench.backends import registry
from mfbench.core.own_code import own_digest
from mfbench.data.splits import Parts
from mfbench.runs.environment import Environment
from mfbench.runs.records import METRICS, Record
from mfbench.runs.scores import CURVES

Weight = Literal["fault", "bits", "note"]

WITHOUT_EFFECT = {"mfbench", "mlflow", "optuna", "pandas", "pyarrow"}
"""Packages whose version cannot change the result of a re-run; mfbench's code and the data are compared by digest."""
TOLERANCE = 1e-5
"""The largest relative difference that a metric may have on another processor, version or device.

Other vector instructions on the same processor changed no metric of 60 epochs of jax, adam or numba on 100,000 ratings by
more than 3e-7.
"""


# --- before the re-run -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """One difference: the recorded value and the value here.

    weight: "fault" if this would not be the recorded run, because its record, data or split has changed; "bits" if it can
    change the last bits of the result; "note" if it should not change the result.
    """

    what: str
    recorded: str
    here: str
    weight: Weight
    says: str

    def __str__(self) -> str:
        effect = {"fault": "", "bits": "; this can change the last bits", "note": "; this should not change the result"}
        return f"{self.what}: {self.says} (recorded {self.recorded}, here {self.here}){effect[self.weight]}"


def differences(record: Record, parts: Parts, here: Environment) -> list[Difference]:
    """All differences, faults first. parts: the record's data as it is now. here: the current environment."""
    found = [*_in_record(record), *_in_spec(record), *_in_data(record, parts)]
    return [*found, *_in_backend(record), *_in_metrics(record), *_in_environment(record.environment, here)]


def _in_record(record: Record) -> Iterator[Difference]:
    if not record.is_sealed:
        seal = record.seal[:8] if record.seal else "none"
        yield Difference("record", f"seal {seal}", "another seal", "fault", "it was changed after it was written")


def _in_spec(record: Record) -> Iterator[Difference]:
    """Hyperparameters and knobs of the record that contradict its own spec."""
    model, sweep = record.spec.model, record.spec.sweep if record.stage != "run" else None
    space, values = (sweep.space_of(record.backend), sweep.values_of(record.backend)) if sweep else ({}, {})
    fixed = {**dict(model), **model.options.get(record.backend, {}), **values}
    if record.stage in ("run", "trial") and record.planned_epochs not in (model.epochs, 1):
        yield _contradiction("epochs", record.planned_epochs, model.epochs)
    for name, value in (record.options | record.hyper).items():
        if given := space.get(name):
            if not given.holds(value):
                yield _contradiction(name, value, list(getattr(given, "bounds", given.samples())))
        elif name in fixed and value != fixed[name]:
            yield _contradiction(name, value, fixed[name])


def _contradiction(name: str, recorded: object, in_spec: object) -> Difference:
    says = f"the record has {recorded}, but its spec has {in_spec}"
    return Difference(name, str(recorded), str(in_spec), "fault", says)


def _in_data(record: Record, parts: Parts) -> Iterator[Difference]:
    for what, says in (("data", "these are not the ratings of the run"), ("split", "the same ratings are split differently")):
        was, now = (str(getattr(one, f"{what}_digest")) for one in (record.data, parts.described()))
        if was != now:
            yield Difference(what, f"digest {was[:12]}", f"digest {now[:12]}", "fault", says)
            return


def _in_backend(record: Record) -> Iterator[Difference]:
    now = registry.digest(record.backend)
    if now != record.backend_digest:
        says = "its file has changed since the run"
        yield Difference(record.backend, f"digest {record.backend_digest}", f"digest {now}", "bits", says)


def _in_metrics(record: Record) -> Iterator[Difference]:
    for name, was in record.own_metrics.items():
        now = own_digest(was.code)
        if now != was.digest:
            says = f"its file has changed since the run, so {name} may be another metric"
            yield Difference(was.code, f"digest {was.digest}", f"digest {now}", "bits", says)


def _in_environment(was: Environment, now: Environment) -> Iterator[Difference]:
    if was.source != now.source:
        yield Difference("code", _commit(was), _commit(now), "bits", "the source code of mfbench has changed")
    elif _commit(was) != _commit(now):
        yield Difference(
            "commit", _commit(was), _commit(now), "note", "a different one, but mfbench's source code is the same"
        )
    groups = (
        (was.versions, now.versions, "version"),
        (was.settings, now.settings, "setting"),
        (was.device, now.device, "device"),
    )
    for old, new, kind in groups:
        if old is None or new is None:
            continue
        for name in sorted((old.keys() | new.keys()) - WITHOUT_EFFECT):
            if old.get(name) != new.get(name):
                yield Difference(name, str(old.get(name)), str(new.get(name)), "bits", f"different {kind}")
    for name, says in (("python", "different version"), ("system", "different system"), ("cpu", "different processor")):
        if getattr(was, name) != getattr(now, name):
            yield Difference(name, str(getattr(was, name)), str(getattr(now, name)), "bits", says)
    if was.threads != now.threads:
        yield Difference("threads", str(was.threads), str(now.threads), "note", "different number")


def _commit(found: Environment) -> str:
    if found.git_commit is None:
        return f"version {(found.versions or {}).get('mfbench')}"
    return f"commit {found.git_commit[:8]}" + (f" with changes {found.git_diff[:8]}" if found.git_diff else "")


# --- after the re-run ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One comparison: of a value, a curve, the evaluation, or the digest of the factors.

    agrees: to the bit, for a curve in all epochs. largest: the largest relative difference of a metric; None if there is no
    difference, or one of the values is missing. epoch: of that difference, for a curve.
    """

    what: str
    recorded: str
    here: str
    agrees: bool
    says: str
    largest: float | None = None
    epoch: int | None = None

    @property
    def is_near(self) -> bool:
        """Whether it agrees within the tolerance, or has no tolerance: factors, best epoch, evaluation.

        The evaluation has none because of its lists: predictions that are almost equal can rank other items.
        """
        near = self.largest is not None and self.largest <= TOLERANCE
        return self.agrees or near or self.what in ("factors", "best_epoch", "evaluation")


def compared_lines(was: Record, now: Record) -> Iterator[Line]:
    """Compare the numbers of two records of the same run, each number, curve and digest as one line."""
    for name in ("outcome", "reason", "epochs", "best_epoch"):
        yield from _single(name, getattr(was, name), getattr(now, name))
    for name in dict.fromkeys((*CURVES, was.objective.name)):
        if was.scores.of(name) or now.scores.of(name):
            old, new = (dict(zip(one.scores.epoch, one.scores.of(name), strict=False)) for one in (was, now))
            yield _many(f"{name} by epoch", old, new, _last(old), _last(new))
    for name in METRICS:
        if was.best_trial is None or not name.startswith("valid"):  # a final run inherits these from its trial
            yield from _single(name, getattr(was, name), getattr(now, name))
    if was.evaluation or now.evaluation:
        # An older record may lack metrics that have been added since.
        again = {name: value for name, value in now.evaluation.items() if name in was.evaluation or not was.evaluation}
        yield _many("evaluation", was.evaluation, again, *(f"{len(one)} metrics" for one in (was.evaluation, again)))
    if was.evaluation.keys() != now.evaluation.keys() and was.environment.source == now.environment.source:
        apart = sorted(was.evaluation.keys() ^ now.evaluation.keys())  # the same code computes the same metrics
        yield Line("metrics", str(len(was.evaluation)), str(len(now.evaluation)), False, f"no, {apart[0]} is in one only")
    yield from _single("factors", was.factors_digest, now.factors_digest)


def _single(name: str, was: Any, now: Any) -> Iterator[Line]:
    if was is None and now is None:
        return
    old, new = (str(one)[:12] if name == "factors" else str(one) for one in (was, now))
    yield Line(name, old, new, was == now, "yes" if was == now else "no", _relative(was, now))


def _many(what: str, old: Mapping[Any, Any], new: Mapping[Any, Any], recorded: str, here: str) -> Line:
    """Compare numbers by epoch or by name, as one line."""
    keys = sorted(old.keys() | new.keys())
    same = [key for key in keys if key in old and key in new and old[key] == new[key]]
    apart = {key: _relative(old.get(key), new.get(key)) for key in keys if key not in same}
    known = {key: value for key, value in apart.items() if value is not None}
    where = max(known, key=lambda key: known[key]) if known and len(known) == len(apart) else None
    return Line(
        what, recorded, here, not apart, f"{len(same)} of {len(keys)}",
        None if where is None else known[where], where if isinstance(where, int) else None,
    )  # fmt: skip


def _last(curve: dict[int, float | None]) -> str:
    return str(curve[max(curve)]) if curve else "–"


def _relative(was: Any, now: Any) -> float | None:
    """The difference of two floats relative to the larger; None if they are equal, or not both are floats."""
    if was == now or not isinstance(was, float) or not isinstance(now, float):
        return None
    return abs(was - now) / max(abs(was), abs(now))
