"""Checkpoints of a plain run, in `runs/.checkpoints/`: of its model, every few epochs, with the scores so far.

Each process writes the parts of the model that it has, and the first one then a card that makes them valid. So the folder must
be one that all processes share. Random numbers are not stored: going on draws those of the epochs before once more.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from mfbench.backends import registry
from mfbench.backends.base import Distributed, Model, SideBySideTraining, Spread, Training
from mfbench.core.files import write_whole
from mfbench.core.machine import leads
from mfbench.core.paths import RUNS
from mfbench.data.splits import Parts
from mfbench.matrix.ratings import Ratings
from mfbench.runs.environment import environment
from mfbench.runs.jobs import Job, hardware
from mfbench.runs.records import Clocks, Record
from mfbench.runs.scores import Scores


class Checkpoints:
    """The checkpoints of a job. `done`: the epochs after which there is one to go on from; 0 if there is none.

    Only a plain run has any, without patience (which may need the model of an earlier epoch), of a backend that is
    `Distributed`. A checkpoint of other code, data, versions, hyperparameters or knobs is not used.
    """

    def __init__(self, job: Job, parts: Parts) -> None:
        backend = job.trainer
        self._every = 0
        self.done = 0
        if job.stage == "run" and job.patience is None and isinstance(backend, Distributed) and backend.is_distributed:
            self._every, self._last = backend.checkpoint_every, job.epochs
            self._backend, self._folder = backend, _folder(job)
            self._of = _identity(job, parts)
            self._card = self._read()
            self.done = int(self._card["epoch"]) if self._card else 0

    def models(self, train: Ratings, training: Training, record: Record) -> SideBySideTraining:
        """The models from the checkpoint on, the first being its own; its scores and clocks go into the record."""
        assert self._card is not None
        record.scores, record.epochs = Scores.model_validate(self._card["scores"]), self.done
        record.clocks = Clocks.model_validate(self._card["clocks"])
        for model in self._backend.epochs_from(train, training, self.done, self._at(self.done)):
            yield [model]

    def keep(self, epoch: int, model: Model, record: Record) -> None:
        """Write a checkpoint if it is time for one, and then remove the one before."""
        if not self._every or epoch % self._every or epoch == self._last:
            return
        assert isinstance(model, Spread)
        model.save(self._at(epoch))
        if leads():
            card = {"of": self._of, "epoch": epoch}
            card |= {"scores": record.scores.model_dump(mode="json"), "clocks": record.clocks.model_dump()}
            write_whole(self._folder / "card.json", json.dumps(card).encode())
            for old in self._folder.glob("epoch-*"):
                if old != self._at(epoch):
                    shutil.rmtree(old, ignore_errors=True)

    def _at(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch:06d}"

    def _read(self) -> dict[str, Any] | None:
        try:
            card = json.loads((self._folder / "card.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return card if card["of"] == self._of and self._at(card["epoch"]).is_dir() else None


def remove_checkpoints(job: Job) -> None:
    """Remove the checkpoints of a job, which has finished."""
    if job.stage == "run":
        shutil.rmtree(_folder(job), ignore_errors=True)


def _folder(job: Job) -> Path:
    return RUNS / ".checkpoints" / job.path.relative_to(RUNS).with_suffix("")


def _identity(job: Job, parts: Parts) -> dict[str, Any]:
    """What must be the same for a checkpoint to give the same bits as a run without a break."""
    here = environment(hardware(job.trainer))
    identity = {
        "spec": job.spec.model_dump(mode="json"),
        "hyper": job.hyper,
        "epochs": job.epochs,
        "knobs": registry.knobs(job.trainer),
        "data": parts.described().model_dump(mode="json"),
        "code": [here.source, here.git_diff, here.versions, here.device],
    }
    loaded: dict[str, Any] = json.loads(json.dumps(identity))
    return loaded
