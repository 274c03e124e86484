"""A training on a ring: the same bits on any number of devices and in any number of processes, also after one of them dies."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import ended, started
from test_one_algorithm import assert_one_algorithm

from mfbench.backends.jax import Jax
from mfbench.core.errors import SpecError
from mfbench.data.splits import parts_of
from mfbench.matrix.factors import digest_of
from mfbench.models.scoring import score
from mfbench.runs.jobs import job_of
from mfbench.runs.preparation import Preparation
from mfbench.runs.training import make
from mfbench.spec import load_spec
from mfbench.testing import small_ratings, train_models

SPEC = {
    "name": "ring",
    "data": {"planted": {"users": 80, "items": 60, "ratings": 1500}},
    "split": {"kind": "random", "valid": 0.1},
    "model": {
        "backend": "jax", "K": 20, "alpha": 0.02, "epochs": 8, "bias": True, "center": True, "step": "adagrad",
        "options": {"jax": {"schedule": "ring", "parts": 4, "checkpoint_every": 2}},
    },
}  # fmt: skip

BARE = {"XLA_FLAGS": ""}  # not those that this process has set for itself

SEVERAL = """
import jax
from test_ring import digests
assert len(jax.devices()) == 4
print(*digests())
"""


def digests():
    """Of the last model and its scores. Parts of unequal size, so that a device has rows that it does not use."""
    train = small_ratings(n_users=31, n_items=21, n=300)
    last = train_models(Jax(schedule="ring", parts=8), train, step="adagrad")[-1]
    return [digest_of(last.arrays()), *(one.hex() for one in score(last, train))]


def test_four_devices_give_the_bits_of_one():
    with started("-c", SEVERAL, settings={**BARE, "JAX_NUM_CPU_DEVICES": "4"}) as process:
        status, out, err = ended(process)
    assert status == 0, err
    assert out.split() == digests()


@pytest.mark.parametrize("step", ["constant", "adagrad"])
def test_it_computes_what_the_loop_computes(step):
    backend = Jax(schedule="ring", parts=3, dtype="float64")
    assert_one_algorithm(backend, small_ratings(), K=10, step=step)  # not any ratings: each new size is compiled


def test_it_scores_as_the_whole_model_does():
    train = small_ratings()
    models: Any = train_models(Jax(schedule="ring", parts=4), train)
    for model in models:
        for part in (train, train.take(slice(3, 9))):
            assert score(model, part) == pytest.approx(score(model.gathered(), part), rel=1e-12)


def test_one_device_is_no_ring():
    with pytest.raises(SpecError, match="write cpu"):
        Jax(schedule="ring", device="cpu:0")


@pytest.mark.long
def test_a_run_whose_process_was_killed_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MFBENCH_CACHE", str(tmp_path / "cache"))
    job = job_of(load_spec(SPEC), "ring", "jax", "run")
    whole = make([job], parts_of(job.spec), None, Preparation())[0].record
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(there)
    Path("spec.yaml").write_text(yaml.safe_dump(SPEC))
    words = ("-m", "mfbench", "run", "spec.yaml", "--processes", "2", "--json")

    with started(*words, settings=BARE) as process:
        until = time.monotonic() + 120
        while not list(Path("runs").glob(".checkpoints/*/*/*/card.json")) and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(second_of(process.pid), signal.SIGKILL)
        status, out, err = ended(process)
    assert status == 1, out + err
    assert "rerun the command to go on from its last checkpoint" in err
    assert not list(Path("runs").glob("*/*/run-*.json"))
    with started(*words, settings=BARE) as process:
        status, out, err = ended(process)
    assert status == 0, err
    assert "going on from its checkpoint after epoch" in err
    answer = json.loads(out.splitlines()[-1])
    assert answer["factors_digest"] == whole.factors_digest
    assert (answer["train_rmse"], answer["valid_rmse"]) == (whole.train_rmse, whole.valid_rmse)
    assert not list(Path("runs").glob(".checkpoints/*/*/*"))


def second_of(parent):
    """The process that the command started second."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(children[1])
