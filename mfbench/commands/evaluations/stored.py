"""Evaluations made after a run: one file each in a folder beside its record, which itself is never changed.

The file is `runs/<study>/<backend>/<stage>-<number>.evaluations/<digest>.json`; the digest is of all that the values follow
from, so the same evaluation made again has the same file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mfbench.core.errors import RecordError
from mfbench.core.files import write_whole
from mfbench.runs.environment import Environment
from mfbench.runs.records import MetricCode, MetricName, Record, seal_of
from mfbench.spec.faults import fault


class StoredEvaluation(BaseModel):
    """Values of metrics of a stored model, by name.

    record_seal: of the record of the run; with another seal it is another run. k, relevant: as in the spec's `evaluation`.
    own_metrics: the code of the user's own metrics among them, by name. made: in seconds since 1970. seal: a digest of all
    other fields, added when the file is written.
    """

    model_config = ConfigDict(extra="forbid")

    run_key: str
    record_seal: str
    part: str
    values: dict[MetricName, float | int | None]
    own_metrics: dict[MetricName, MetricCode]
    k: list[int]
    relevant: float
    environment: Environment
    made: float
    seal: str | None = None

    @property
    def is_sealed(self) -> bool:
        """Whether it is unchanged since it was written."""
        return self.seal == seal_of(self.model_dump(mode="json"))

    def write(self, record: Path) -> Path:
        """Seal it, write it beside the record at that path, whole or not at all, and return its path."""
        codes = {name: code.model_dump() for name, code in self.own_metrics.items()}
        what = json.dumps([self.record_seal, sorted(self.values), codes, self.k, self.relevant], sort_keys=True)
        path = evaluations_folder(record) / f"{hashlib.sha256(what.encode()).hexdigest()[:12]}.json"
        self.seal = seal_of(self.model_dump(mode="json"))
        write_whole(path, self.model_dump_json(indent=1).encode() + b"\n")
        return path


def evaluations_folder(record: Path) -> Path:
    """The folder of the evaluations of the run whose record has that path."""
    return record.with_suffix(".evaluations")


def stored_evaluations(record: Record) -> list[StoredEvaluation]:
    """The evaluations beside the record of a run, oldest first, without those of an earlier run of the same name.

    RecordError if one of them is damaged, or was changed after it was written.
    """
    found = []
    for path in sorted(evaluations_folder(record.path).glob("*.json")):
        try:
            one = StoredEvaluation.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise RecordError(f"{path}: this evaluation is damaged ({fault(error).says}); delete it to repeat it") from None
        if not one.is_sealed:
            raise RecordError(f"{path}: this evaluation was changed after it was written; delete it to repeat it")
        if one.record_seal == record.seal:
            found.append(one)
    return sorted(found, key=lambda one: one.made)


def with_evaluations(record: Record) -> Record:
    """The record with the values of later evaluations added; the same object if there are none. Its own values stay."""
    later = stored_evaluations(record)
    if not later:
        return record
    values: dict[str, float | int | None] = {}
    codes: dict[str, MetricCode] = {}
    for one in later:
        values |= one.values
        codes |= one.own_metrics
    known = {name: value for name, value in values.items() if record.metric(name) is None}
    return record.changed(
        {"evaluation": {**known, **record.evaluation}, "own_metrics": {**codes, **record.own_metrics}}
    )  # fmt: skip
