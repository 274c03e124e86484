"""What differs between how a run was made and how it would be made here, known before it is made again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mfbench.backends import registry
from mfbench.data.splits import Parts
from mfbench.runs.environment import Environment
from mfbench.runs.records import Record

Weight = Literal["fault", "bits", "note"]

NO_PART_IN_THE_BITS = {"mfbench", "mlflow", "optuna", "pandas", "pyarrow"}
"""Packages whose version matters to no run that is made again: mfbench's code has a digest, and so has the data."""


@dataclass(frozen=True)
class Difference:
    """One thing, as it was recorded and as it is here.

    weight: with a "fault" this is not the run that was recorded: the record, the data or the split is another. What can
    change "bits" can change the last ones only. A "note" cannot, as far as we know.
    """

    what: str
    recorded: str
    here: str
    weight: Weight
    says: str

    def __str__(self) -> str:
        means = {"fault": "", "bits": "; this can change the last bits", "note": "; this should change nothing"}[self.weight]
        return f"{self.what}: {self.says} (recorded {self.recorded}, here {self.here}){means}"


def differences(record: Record, parts: Parts, here: Environment) -> list[Difference]:
    """All that differs, faults first. parts: the record's data as they are now; here: the environment."""
    found = [*_in_record(record), *_in_spec(record), *_in_data(record, parts)]
    return [*found, *_in_backend(record), *_in_environment(record.environment, here)]


def _in_record(record: Record) -> Iterator[Difference]:
    if not record.is_sealed:
        seal = record.seal[:8] if record.seal else "none"
        yield Difference("record", f"seal {seal}", "another", "fault", "it was changed after it was written")


def _in_spec(record: Record) -> Iterator[Difference]:
    """Hyperparameters and knobs of the record that its own spec rules out."""
    model, sweep = record.spec.model, record.spec.sweep if record.stage != "run" else None
    space, values = (sweep.space_of(record.backend), sweep.values_of(record.backend)) if sweep else ({}, {})
    told = {**dict(model), **model.options.get(record.backend, {}), **values}
    if record.stage in ("run", "trial") and record.planned_epochs not in (model.epochs, 1):
        yield _contradiction("epochs", record.planned_epochs, model.epochs)
    for name, value in (record.options | record.hyper).items():
        if given := space.get(name):
            if not given.holds(value):
                yield _contradiction(name, value, list(getattr(given, "bounds", given.samples())))
        elif name in told and value != told[name]:
            yield _contradiction(name, value, told[name])


def _contradiction(name: str, recorded: object, told: object) -> Difference:
    says = f"the record says {recorded}, and its own spec {told}"
    return Difference(name, str(recorded), str(told), "fault", says)


def _in_data(record: Record, parts: Parts) -> Iterator[Difference]:
    for what, says in (("data", "these are not the ratings of the run"), ("split", "the same ratings are cut another way")):
        was, now = (str(getattr(one, f"{what}_digest")) for one in (record.data, parts.described()))
        if was != now:
            yield Difference(what, f"digest {was[:12]}", f"digest {now[:12]}", "fault", says)
            return


def _in_backend(record: Record) -> Iterator[Difference]:
    now = registry.digest(record.backend)
    if now != record.backend_digest:
        says = "its file has changed since the run"
        yield Difference(record.backend, f"digest {record.backend_digest}", f"digest {now}", "bits", says)


def _in_environment(was: Environment, now: Environment) -> Iterator[Difference]:
    if was.source != now.source:
        yield Difference("code", _commit(was), _commit(now), "bits", "the package's source is another")
    elif _commit(was) != _commit(now):
        yield Difference("commit", _commit(was), _commit(now), "note", "another one, with the same source of the package")
    groups = (
        (was.versions, now.versions, "version"),
        (was.settings, now.settings, "setting"),
        (was.device, now.device, "device"),
    )
    for old, new, kind in groups:
        if old is None or new is None:
            continue
        for name in sorted((old.keys() | new.keys()) - NO_PART_IN_THE_BITS):
            if old.get(name) != new.get(name):
                yield Difference(name, str(old.get(name)), str(new.get(name)), "bits", f"another {kind}")
    for name, says in (("python", "another version"), ("system", "another system"), ("cpu", "another processor")):
        if getattr(was, name) != getattr(now, name):
            yield Difference(name, str(getattr(was, name)), str(getattr(now, name)), "bits", says)
    if was.threads != now.threads:
        yield Difference("threads", str(was.threads), str(now.threads), "note", "another number")


def _commit(found: Environment) -> str:
    if found.git_commit is None:
        return f"version {(found.versions or {}).get('mfbench')}"
    return f"commit {found.git_commit[:8]}" + (f" with changes {found.git_diff[:8]}" if found.git_diff else "")
