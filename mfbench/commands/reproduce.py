"""Re-running a recorded run, and comparing the result with its record: to the bit, or within a tolerance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from mfbench.backends.base import HasDevice
from mfbench.commands.differences import TOLERANCE, Difference, Line, compared_lines, differences
from mfbench.commands.find import check_code, check_file, one_run
from mfbench.core import tables
from mfbench.core.errors import InputError, MfbenchError, RecordError, WorkError
from mfbench.core.machine import core_list, on_cores
from mfbench.data.files.frames import FOLDER, is_frame, keep
from mfbench.data.splits import parts_of
from mfbench.runs.environment import environment
from mfbench.runs.jobs import BestTrial, Job, hardware
from mfbench.runs.preparation import Preparation
from mfbench.runs.progress import Watcher
from mfbench.runs.records import Record
from mfbench.runs.training import make
from mfbench.search.progress_bar import ProgressBar
from mfbench.spec import load_spec

Verdict = Literal["to the bit", "within tolerance", "not reproduced", "refused"]


@dataclass(frozen=True)
class Reproduction:
    """The result of re-running a recorded run.

    found: what differs in code, data, versions and machine. lines: the comparisons, none if it was refused. exact: whether
    the backend promises the same bits on its device. record: of the new run, never written; None if it was refused.
    """

    run_key: str
    found: list[Difference]
    lines: list[Line]
    exact: bool
    record: Record | None

    @property
    def verdict(self) -> Verdict:
        """`not reproduced` if there is a fault, whatever the numbers; a tolerance only if something can change last bits."""
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
        """Whether the numbers of the record are confirmed."""
        return self.verdict in ("to the bit", "within tolerance")

    @property
    def cause(self) -> str | None:
        """The likely cause of the verdict; None if it is `to the bit`."""
        if self.verdict == "to the bit":
            return None
        if self.verdict == "not reproduced" and self.record and self.record.outcome == "failed":
            return f"the run failed here ({self.record.reason})"
        for weight in ("fault", "bits", "note"):
            if named := [f"{one.what}: {one.says}" for one in self.found if one.weight == weight]:
                return "; ".join(named)
        if not self.exact:
            return "on this device the backend sums gradients in no fixed order"
        return "nothing that was recorded differs, so this is a bug in mfbench or a fault of the machine"

    @property
    def sentence(self) -> str:
        """The verdict as a sentence for the user."""
        agree = f"{sum(line.agrees for line in self.lines)} of {len(self.lines)} comparisons"
        says = {
            "to the bit": f"reproduced to the bit, {agree}",
            "within tolerance": f"reproduced within a relative tolerance of {TOLERANCE:g}, {agree} to the bit",
            "not reproduced": f"not reproduced, {agree} agree",
            "refused": "not run, because --strict is given and something that can change a bit differs",
        }[self.verdict]
        return f"{self.run_key}: {says}" + (f"; likely cause: {self.cause}" if self.cause else "")

    def summary(self) -> dict[str, Any]:
        """The object that `--json` prints."""
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
        """The comparisons for a terminal."""
        header = ["value", "recorded", "here", "agrees", "largest difference"]
        body = [
            [line.what, line.recorded, line.here, line.says, _shown(line.largest, line.epoch)]
            for line in self.lines
        ]  # fmt: skip
        return tables.drawn(self.run_key, header, body)


def make_again(record: Record, watcher: Watcher, strict: bool = False, file: str | None = None) -> Reproduction:
    """Re-run the run of a record and compare; writes nothing but a line in the log of openings of the test part.

    strict: do not run if something differs that can change a bit. file: the current path of the ratings, for a run on the
    user's own file. A trial that was pruned is stopped after as many epochs, since the pruning depended on other trials. A
    trial that was trained side by side with others is trained alone.
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
        watcher.expect({job.backend: 1})

        def watch(job: Job, epoch: int, value: float) -> bool:
            watcher.epoch(job, epoch, value)
            return record.outcome == "pruned" and epoch >= record.epochs

        (made,) = make([job], parts, watch, Preparation(), f"reproduce {record.run_key}")
        return Reproduction(record.run_key, found, list(compared_lines(record, made.record)), exact, made.record)


def _job(record: Record, file: str | None) -> Job:
    """The job of a record, with the recorded value of each knob, in case a default has changed since."""
    tree = record.spec.model_dump(mode="json")
    knobs = dict(record.options)
    if knobs.get("device", "") is None and (record.environment.device or {}).get("kind") == "cpu":
        # JAX on a CPU, by default: this machine may have a better device, and the default may be compiled code now.
        knobs["device"] = "cpu"
    if knobs:
        tree["model"]["options"][record.backend] = knobs
    recorded = record.spec.data.read_from
    if file is not None and recorded is None:
        raise InputError(f"--data {file}: {record.run_key} was not trained on a file of your own; leave --data out")
    if recorded is not None and not Path(file or recorded).expanduser().exists():
        kept = file is None and Path(recorded).parent.name == FOLDER
        what = "DataFrame, kept as this file," if kept else "ratings file"
        advice = "its path with --data FILE" + (", or the DataFrame in Python with data=" if kept else "")
        raise InputError(f"{file or recorded}: the {what} of {record.run_key} does not exist; give {advice}")
    if file is not None:
        (tree["data"]["entry"] or tree["data"])["file"] = file
    best = None
    if record.best_trial is not None:
        judged = {name: value for name, value in record.evaluation.items() if name == record.objective.name}
        best = BestTrial(
            number=record.best_trial, valid_rmse=record.valid_rmse, valid_mae=record.valid_mae, judged=judged,
            intervals=record.intervals,
        )  # fmt: skip
    return Job(
        **record.names,
        spec=load_spec(tree), hyper=record.hyper, epochs=record.planned_epochs, best=best,
    )  # fmt: skip


def _shown(largest: float | None, epoch: int | None) -> str:
    if largest is None:
        return ""
    return f"{largest:.1e}" + (f" (epoch {epoch})" if epoch is not None else "")


def reproduce(run: str | Path, strict: bool = False, data: Any = None, trust: bool = False) -> Reproduction:
    """Re-run a recorded run from its record alone, and compare every number and the digest of its factors.

    run: a run key, an MLflow run id, or the path of a record. strict: do not run if something differs that can change a bit.
    data: for a run on your own ratings the current path of their file, or the DataFrame. The record itself is not changed.
    trust: whether to import code that the record names, and to read its ratings file, also if these or the record are not of
    this project. InputError if that would be needed, if there is no such run, or its data is not available.

    >>> import mfbench
    >>> data = {"planted": {"users": 60, "items": 80, "ratings": 2000}}  # generated ratings
    >>> model = {"backend": "loop", "K": 4, "alpha": 0.02, "epochs": 5}
    >>> result = mfbench.run({"name": "example", "data": data, "split": {"kind": "random", "valid": 0.1}, "model": model})
    >>> again = mfbench.reproduce(result.record.run_key)
    >>> again.verdict, len(again.found), all(line.agrees for line in again.lines)
    ('to the bit', 0, True)
    """
    try:
        record = one_run(str(run))
    except RecordError as error:
        raise InputError(str(error)) from None
    file = keep(data) if is_frame(data) else data
    check_code(record, trust)
    if data is None:
        check_file(record, trust)
    with ProgressBar() as bar:
        try:
            return make_again(record, bar, strict, file)
        except Exception as error:
            if record.is_sealed or isinstance(error, WorkError):
                raise
            why = f"{type(error).__name__}: {error}" if not isinstance(error, MfbenchError) else error
            raise InputError(
                f"{run}: this record was changed after it was written and cannot be re-run ({why}); restore the original"
            ) from None
