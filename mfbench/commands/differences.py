"""What differs between a recorded run and a re-run on this machine, found before the re-run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mfbench.backends import registry
from mfbench.data.splits import Parts
from mfbench.runs.environment import Environment
from mfbench.runs.records import Record

Weight = Literal["fault", "bits", "note"]

WITHOUT_EFFECT = {"mfbench", "mlflow", "optuna", "pandas", "pyarrow"}
"""Packages whose version cannot change the result of a re-run; mfbench's code and the data are compared by digest."""


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
    return [*found, *_in_backend(record), *_in_environment(record.environment, here)]


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
