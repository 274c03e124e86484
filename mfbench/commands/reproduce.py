"""Making a run again from its record alone, and saying whether the numbers agree, to the bit or to a tolerance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from mfbench.backends.base import HasDevice
from mfbench.commands.differences import Difference, differences
from mfbench.commands.find import one_run
from mfbench.core import tables
from mfbench.core.errors import InputError, MfbenchError, RecordError, WorkError
from mfbench.core.machine import core_list, on_cores
from mfbench.data.splits import parts_of
from mfbench.runs.environment import environment
from mfbench.runs.jobs import BestTrial, Job, hardware
from mfbench.runs.preparation import Preparation
from mfbench.runs.progress import ProgressBar, Watcher
from mfbench.runs.records import CURVES, METRICS, Record
from mfbench.runs.training import make
from mfbench.spec import load_spec

TOLERANCE = 1e-5
"""The largest relative difference of a metric where the bits are not promised: another processor, version, device.

Other vector instructions on the same processor moved no metric of 60 epochs of jax, adam or numba on 100,000 ratings by more
than 3e-7.
"""

Verdict = Literal["to the bit", "within tolerance", "not reproduced", "refused"]


@dataclass(frozen=True)
class Line:
    """One thing that was compared.

    agrees: to the bit, all epochs of a curve. largest: the largest relative difference of a metric, None where there is
    none, or one of the values is missing; epoch: where that is, in a curve.
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
        """Whether it is a metric that agrees within the tolerance, or one of those that no tolerance has a hold on.

        Of the evaluation these are the lists: one that is made of other items is another, however near their predictions.
        """
        near = self.largest is not None and self.largest <= TOLERANCE
        return self.agrees or near or self.what in ("factors", "best_epoch", "evaluation")


@dataclass(frozen=True)
class Reproduction:
    """What came of making a run again.

    found: what differs between the recorded run's making and this one's. lines: what was compared, nothing where it was
    refused. exact: whether the backend promises the same bits on its device. record: that of the new run, which stands in
    no file.
    """

    run_key: str
    found: list[Difference]
    lines: list[Line]
    exact: bool
    record: Record | None

    @property
    def verdict(self) -> Verdict:
        """A fault is never reproduced, whatever the numbers; a tolerance is for what can change the last bits."""
        if not self.lines:
            return "refused"
        if any(one.weight == "fault" for one in self.found):
            return "not reproduced"
        if all(line.agrees for line in self.lines):
            return "to the bit"
        excused = not self.exact or any(one.weight == "bits" for one in self.found)
        return "within tolerance" if excused and all(line.is_near for line in self.lines) else "not reproduced"

    @property
    def reproduced(self) -> bool:
        """Whether the numbers of the record stand."""
        return self.verdict in ("to the bit", "within tolerance")

    @property
    def cause(self) -> str | None:
        """Why it was refused or differs, as far as that can be told; None where nothing does."""
        if self.verdict == "to the bit":
            return None
        for weight in ("fault", "bits", "note"):
            if named := [f"{one.what}: {one.says}" for one in self.found if one.weight == weight]:
                return "; ".join(named)
        if not self.exact:
            return "on this device the backend adds to a row in no fixed order"
        return "nothing that was recorded differs; this is a fault of mfbench or of the machine"

    @property
    def sentence(self) -> str:
        """The verdict for a person."""
        cause = f"; likely cause: {self.cause}" if self.cause else ""
        agree = sum(line.agrees for line in self.lines)
        return {
            "to the bit": f"{self.run_key}: reproduced to the bit, {agree} of {agree} comparisons",
            "within tolerance": f"{self.run_key}: reproduced within {TOLERANCE:g}, {agree} of {len(self.lines)} to the bit",
            "not reproduced": f"{self.run_key}: not reproduced, {agree} of {len(self.lines)} comparisons agree",
            "refused": f"{self.run_key}: not run, for --strict was given and something differs that can change a bit",
        }[self.verdict] + cause

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "run_key": self.run_key,
            "reproduced": self.reproduced,
            "verdict": self.verdict,
            "cause": self.cause,
            "differences": [asdict(one) for one in self.found],
            "lines": [asdict(line) for line in self.lines],
            **(self.record.clocks.model_dump() if self.record else {}),
        }

    def table(self) -> Table:
        """What was compared, for a terminal."""
        header = ["what", "recorded", "here", "agrees", "largest difference"]
        body = [
            [line.what, line.recorded, line.here, line.says, _shown(line.largest, line.epoch)]
            for line in self.lines
        ]  # fmt: skip
        return tables.drawn(self.run_key, header, body)


def make_again(record: Record, watcher: Watcher, strict: bool = False, file: str | None = None) -> Reproduction:
    """Make the run of a record again and compare; nothing is written but a line in the log of the test part's openings.

    strict: do not run where something differs that can change a bit. file: where the ratings are now, of a run on the
    user's own file. A trial that was pruned is stopped after as many epochs, for its siblings decided that. One that was
    trained side by side with others is made alone.
    """
    with on_cores(record.environment.threads or len(core_list())):
        job = _job(record, file)
        exact = job.trainer.exact if isinstance(job.trainer, HasDevice) else True
        parts = parts_of(job.spec)
        found = differences(record, parts, environment(hardware(job.trainer)))
        for one in found:
            watcher.say(str(one))
        if strict and any(one.weight != "note" for one in found):
            return Reproduction(record.run_key, found, [], exact, None)
        watcher.study(job.backend, 1)

        def watch(job: Job, epoch: int, value: float) -> bool:
            watcher.epoch(job, epoch, value)
            return record.outcome == "pruned" and epoch >= record.epochs

        (made,) = make([job], parts, watch, Preparation(), f"reproduce {record.run_key}")
        return Reproduction(record.run_key, found, list(_compared(record, made.record)), exact, made.record)


def _job(record: Record, file: str | None) -> Job:
    """The job of a record, with each of the backend's knobs as it was, also where its default has changed since."""
    tree = record.spec.model_dump(mode="json")
    knobs = dict(record.options)
    if knobs.get("device", "") is None and (record.environment.device or {}).get("kind") == "cpu":
        knobs["device"] = "cpu"  # it was the best there was, and may not be here
    if knobs:
        tree["model"]["options"][record.backend] = knobs
    recorded = record.spec.data.file
    if file is not None and recorded is None:
        raise InputError(f"--data {file}: {record.run_key} is not on a file of your own; leave --data out")
    if recorded is not None and not Path(file or recorded).expanduser().exists():
        raise InputError(
            f"{file or recorded}: the ratings of {record.run_key} are not there; say where they are with --data FILE"
        )
    if file is not None:
        tree["data"]["file"] = file
    best = None
    if record.best_trial is not None:
        best = BestTrial(
            number=record.best_trial, valid_rmse=record.valid_rmse, valid_mae=record.valid_mae, intervals=record.intervals
        )
    return Job(
        **record.names,
        spec=load_spec(tree), hyper=record.hyper, epochs=record.planned_epochs, best=best,
    )  # fmt: skip


# --- comparing -------------------------------------------------------------------------------------------------------


def _compared(was: Record, now: Record) -> Iterator[Line]:
    for name in ("outcome", "reason", "epochs", "best_epoch"):
        yield from _single(name, getattr(was, name), getattr(now, name))
    for name in CURVES:
        if getattr(was.scores, name) or getattr(now.scores, name):
            old, new = (dict(zip(one.scores.epoch, getattr(one.scores, name), strict=False)) for one in (was, now))
            yield _many(f"{name} by epoch", old, new, _last(old), _last(new))
    for name in METRICS:
        if was.best_trial is None or not name.startswith("valid"):  # a final run has those of its trial
            yield from _single(name, getattr(was, name), getattr(now, name))
    if was.evaluation or now.evaluation:
        told = [f"{len(one.evaluation)} metrics" for one in (was, now)]
        yield _many("evaluation", was.evaluation, now.evaluation, *told)
    yield from _single("factors", was.factors_digest, now.factors_digest)


def _single(name: str, was: Any, now: Any) -> Iterator[Line]:
    if was is None and now is None:
        return
    old, new = (str(one)[:12] if name == "factors" else str(one) for one in (was, now))
    yield Line(name, old, new, was == now, "yes" if was == now else "no", _relative(was, now))


def _many(what: str, old: Mapping[Any, Any], new: Mapping[Any, Any], recorded: str, here: str) -> Line:
    """Numbers by epoch or by name, as one line."""
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
    """The difference of two floats in parts of the larger; None where they are equal, or not both are floats."""
    if was == now or not isinstance(was, float) or not isinstance(now, float):
        return None
    return abs(was - now) / max(abs(was), abs(now))


def _shown(largest: float | None, epoch: int | None) -> str:
    if largest is None:
        return ""
    return f"{largest:.1e}" + (f" (epoch {epoch})" if epoch is not None else "")


def reproduce(run: str | Path, strict: bool = False, data: str | None = None) -> Reproduction:
    """Make a run again from its record alone, and compare every number of it, and the digest of its factors.

    run: a run key, an MLflow run id, or the path of a record. strict: do not run where something differs that can change a
    bit. data: the file that has the ratings now, of a run on a file of one's own. The record is left as it is.
    """
    try:
        record = one_run(str(run))
    except RecordError as error:
        raise InputError(str(error)) from None
    with ProgressBar() as bar:
        try:
            return make_again(record, bar, strict, data)
        except Exception as error:
            if record.is_sealed or isinstance(error, WorkError):
                raise
            why = f"{type(error).__name__}: {error}" if not isinstance(error, MfbenchError) else error
            raise InputError(
                f"{run}: this record was changed after it was written, and cannot be run as it is ({why})"
            ) from None
