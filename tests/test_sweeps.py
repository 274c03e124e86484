"""Sweeps: a pure function of the spec, however they are run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from steady import steady

import mfbench
from mfbench.core.errors import WorkError
from mfbench.runs.progress import Watcher
from mfbench.runs.record_files import read_record, study_records
from mfbench.runs.records import Record, RunName
from mfbench.search.outcome import Swept
from mfbench.search.proposals import Finished
from mfbench.search.sweep import Plan
from mfbench.spec import load_spec


class Listener(Watcher):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.made: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def done(self, record: Record) -> None:
        self.made.append(record.run_key)


def swept(spec: Any, workers: Any = 1, **changes: Any) -> Swept:
    return Plan.of(load_spec(spec, [f"{key}={value}" for key, value in changes.items()])).execute(workers, Listener())


def bits(result: Swept) -> list[tuple[Any, ...]]:
    return [(r.run_key, r.K, r.alpha, r.beta, r.outcome, r.valid_rmse, r.test_rmse, r.result) for r in result.records]


def command(spec: dict[str, Any], *words: str) -> list[str]:
    Path("spec.yaml").write_text(yaml.safe_dump(spec))
    return [sys.executable, "-m", "mfbench", "sweep", "spec.yaml", "--json", *words]


def answer(spec: dict[str, Any], *words: str) -> Any:
    done = subprocess.run(command(spec, *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_one_worker_or_two_the_same_bits(workplace: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    one = bits(swept(small, workers=1))
    monkeypatch.chdir(_made(workplace / "again"))
    assert bits(swept(small, workers=2)) == one


@pytest.mark.usefixtures("workplace")
def test_where_nothing_has_a_range_each_backend_is_one_trial_with_its_own_values(small: dict[str, Any]) -> None:
    small["sweep"] |= {"backends": ["loop", "numba", "mean"], "space": {"K": 4}, "spaces": {"numba": {"alpha": 0.02, "K": 3}}}
    small["model"] |= {"alpha": 0.01, "beta": 0.1}
    found = swept(small)
    told = {name: [(one.K, one.alpha, one.beta) for one in trials] for name, trials in found.trials.items()}
    assert told == {"loop": [(4, 0.01, 0.1)], "numba": [(3, 0.02, 0.1)], "mean": [(None, None, None)]}
    assert {(one.backend, one.K, one.alpha) for one in found.finals} == {
        ("loop", 4, 0.01), ("numba", 3, 0.02), ("mean", None, None)
    }  # fmt: skip


def test_more_trials_go_on_with_the_study(workplace: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    swept(small, **{"sweep.trials": 4})
    went_on = swept(small, **{"sweep.trials": 8})
    assert len(went_on.trials["loop"]) == 8
    monkeypatch.chdir(_made(workplace / "at-once"))
    assert bits(swept(small, **{"sweep.trials": 8})) == bits(went_on)


@pytest.mark.usefixtures("workplace")
def test_finished_runs_are_not_made_again(small: dict[str, Any]) -> None:
    before = swept(small)
    again = swept(small)
    assert [r.started for r in again.finals] == [r.started for r in before.finals]


@pytest.mark.usefixtures("workplace")
def test_the_final_run_has_the_best_trial_and_its_best_epoch(small: dict[str, Any]) -> None:
    result = swept(small)
    completed = [trial for trial in result.trials["loop"] if trial.outcome == "completed"]
    best = min(completed, key=lambda trial: trial.valid_rmse or 9)
    (final,) = result.finals
    assert (final.K, final.alpha, final.beta, final.epochs) == (best.K, best.alpha, best.beta, best.best_epoch)
    assert final.valid_rmse == best.valid_rmse == min(v for v in best.scores.valid_rmse if v is not None)
    assert final.test_rmse is not None
    assert all(trial.test_rmse is None for trial in completed)


@pytest.mark.usefixtures("workplace")
def test_test_is_opened_once_for_all_final_runs_after_all_trials(small: dict[str, Any]) -> None:
    result = swept(small, workers=2, **{"sweep.backends": "[loop, mean]", "sweep.repeats": 2})
    assert sum(record.test_rmse is not None for record in result.records) == 4
    (opening,) = [json.loads(line) for line in Path("runs", result.study, "test-openings.jsonl").read_text().splitlines()]
    assert opening["time"] >= max(trial.ended for trials in result.trials.values() for trial in trials)
    swept(small, **{"sweep.backends": "[loop, mean]", "sweep.repeats": 2, "sweep.trials": 9})
    assert len(Path("runs", result.study, "test-openings.jsonl").read_text().splitlines()) == 1


@pytest.mark.usefixtures("workplace")
def test_divergence_is_an_outcome_that_the_study_learns_from(small: dict[str, Any]) -> None:
    small["sweep"]["space"]["alpha"] = {"float": [0.005, 1.0], "log": True}
    result = swept(small, **{"sweep.trials": 9})
    outcomes = {trial.outcome for trial in result.trials["loop"]}
    assert outcomes >= {"diverged", "completed"}
    diverged = next(trial for trial in result.trials["loop"] if trial.outcome == "diverged")
    assert Finished.of(diverged).value == float("inf")
    assert diverged.reason is not None
    assert "no longer a finite number" in diverged.reason


@pytest.mark.usefixtures("workplace")
def test_a_sweep_of_which_nothing_completes_says_why_and_what_to_try(small: dict[str, Any]) -> None:
    small["sweep"]["space"]["alpha"] = {"float": [10.0, 100.0], "log": True}
    advice = "loop: 3 of 3 trials diverged and none completed: try alpha: {float: [1, 100], log: true}"
    with pytest.raises(WorkError, match=r"no longer a finite number after epoch 1.*" + re.escape(advice)):
        swept(small, **{"sweep.trials": 3})


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("evaluation", "says"),
    [
        (
            {"relevant": 6},
            [
                "evaluation.relevant: no rating of train and valid is 6 or more, so precision, recall, NDCG, MAP and hit rate"
                " are undefined; set it to 5, the highest rating, or less"
            ],
        ),
        ({"relevant": 5}, []),
        ({"relevant": 6, "k": []}, []),
    ],
    ids=["above all", "the highest", "no lists"],
)
def test_that_no_rating_is_relevant_is_said_by_sweep_and_run(
    small: dict[str, Any], evaluation: dict[str, Any], says: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{user},{item},{1 + (user + item) % 5}" for user in range(20) for item in range(10)]
    Path("mine.csv").write_text("user,item,rating\n" + "\n".join(lines))
    small |= {"data": {"file": "mine.csv"}, "evaluation": evaluation}
    listener = Listener()
    Plan.of(load_spec(small, ["sweep.trials=1"])).execute(1, listener)
    assert [sentence for sentence in listener.said if "relevant" in sentence] == says
    result = mfbench.run(small, ["model.backend=loop"])
    assert [line for line in capsys.readouterr().err.splitlines() if "relevant" in line] == says
    assert (result.record.evaluation.get("valid_ndcg_5") is None) == (evaluation != {"relevant": 5})


@pytest.mark.usefixtures("workplace")
def test_the_floor_is_not_searched(small: dict[str, Any]) -> None:
    result = swept(small, **{"sweep.backends": "[mean]"})
    assert len(result.trials["mean"]) == 1
    (floor,) = result.finals
    assert (floor.stage, floor.K, floor.alpha, floor.beta) == ("floor", None, None, None)
    assert floor.test_rmse is not None
    assert result.oracle is not None
    assert floor.test_rmse > result.oracle["test_rmse"]


@pytest.mark.usefixtures("workplace")
def test_a_damaged_record_is_set_aside_and_named_and_its_trial_run_again(small: dict[str, Any]) -> None:
    before = swept(small)
    path = RunName(study=before.study, backend="loop", stage="trial", number=2).path
    path.write_text(path.read_text()[:100])
    listener = Listener()
    after = Plan.of(load_spec(small)).execute(1, listener)
    assert bits(after) == bits(before)
    assert any("trial-0002.json" in sentence for sentence in listener.said)
    assert path.with_suffix(".aside").exists()


@pytest.mark.usefixtures("workplace")
def test_a_record_that_was_changed_by_hand_is_set_aside_and_its_trial_run_again(small: dict[str, Any]) -> None:
    before = swept(small)
    path = RunName(study=before.study, backend="loop", stage="trial", number=2).path
    tree = json.loads(path.read_text())
    path.write_text(json.dumps({**tree, "scores": {**tree["scores"], "valid_rmse": [0.1, 0.1, 0.1]}}))
    listener = Listener()
    after = Plan.of(load_spec(small)).execute(1, listener)
    assert bits(after) == bits(before)
    assert sum("trial-0002.json: this record was changed after it was written" in sentence for sentence in listener.said) == 1


@pytest.mark.usefixtures("workplace")
def test_a_backend_that_breaks_fails_its_trial_and_not_the_sweep(small: dict[str, Any]) -> None:
    Path("mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from mfbench.backends.loop import Loop\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Loop):\n"
        "    '''Breaks for small K.'''\n"
        "    def epochs(self, train, start, hyper, schedule, rng):\n"
        "        if hyper.K < 4: raise ZeroDivisionError('too small')\n"
        "        return super().epochs(train, start, hyper, schedule, rng)\n"
    )
    result = swept(small, **{"sweep.backends": "['mine.py:Mine']", "sweep.trials": 9})
    failed = [trial for trial in result.trials["mine.py:Mine"] if trial.outcome == "failed"]
    assert failed
    assert all(trial.reason == "ZeroDivisionError: too small (mine.py, line 7)" for trial in failed)
    assert result.finals[0].outcome == "completed"


@pytest.mark.usefixtures("workplace")
def test_a_record_of_other_code_data_or_a_failure_does_not_stand_for_the_run(small: dict[str, Any]) -> None:
    code = (
        "from dataclasses import dataclass\n"
        "from mfbench.backends.loop import Loop\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Loop):\n"
        "    '''Breaks in the final run.'''\n"
        "    def epochs(self, train, start, hyper, schedule, rng):\n"
        "        if len(train) > 1400: raise ZeroDivisionError('too many')\n"
        "        return super().epochs(train, start, hyper, schedule, rng)\n"
    )
    Path("mine.py").write_text(code)
    changes = {"sweep.backends": "['mine.py:Mine']"}
    broken = swept(small, **changes)
    assert broken.failures == [
        "mine.py:Mine has no final run: 1 of 1 did not complete, mostly: ZeroDivisionError: too many (mine.py, line 7)"
    ]
    Path("mine.py").write_text(code.replace("> 1400", "> 9999"))
    listener = Listener()
    spec = load_spec(small, [f"{key}={value}" for key, value in changes.items()])
    mended = Plan.of(spec).execute(1, listener)
    assert mended.failures == []
    assert mended.finals[0].test_rmse is not None
    assert sum("mine.py:Mine has changed since this run" in sentence for sentence in listener.said) == 6
    assert sum("this run failed (ZeroDivisionError" in sentence for sentence in listener.said) == 1


@pytest.mark.usefixtures("workplace")
def test_lists_of_another_length_are_a_matter_of_the_finals_alone(small: dict[str, Any]) -> None:
    before = swept(small, **{"sweep.trials": 2})
    after = swept(small, **{"sweep.trials": 2, "evaluation.k": "[7]"})
    assert after.study == before.study
    assert after.trials == before.trials
    assert not any(trial.evaluation for trial in after.trials["loop"])
    (old,), (new,) = before.finals, after.finals
    assert {"test_map_5", "test_map_10"} <= old.evaluation.keys()
    assert "test_map_7" in new.evaluation
    assert (new.test_rmse, new.factors_digest) == (old.test_rmse, old.factors_digest)
    assert new.result != old.result


@pytest.mark.usefixtures("workplace")
def test_a_new_study_says_in_which_keys_it_differs_from_the_last(small: dict[str, Any]) -> None:
    swept(small, **{"sweep.trials": 1})
    listener = Listener()
    Plan.of(load_spec(small, ["model.epochs=2", "sweep.trials=1"])).execute(1, listener)
    said, worn = listener.said
    assert said.endswith("in model.epochs")
    assert "has been opened by 1 other study" in worn


@pytest.mark.usefixtures("workplace")
def test_a_worker_that_dies_is_replaced_and_its_trial_run_again_three_times(small: dict[str, Any]) -> None:
    Path("mine.py").write_text(
        "import os, pathlib, signal\n"
        "from dataclasses import dataclass\n"
        "from mfbench.backends.loop import Loop\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Loop):\n"
        "    '''Dies once for K = 5, always for K = 2.'''\n"
        "    def epochs(self, train, start, hyper, schedule, rng):\n"
        "        died = pathlib.Path(f'died-{hyper.K}')\n"
        "        if hyper.K == 2 or (hyper.K == 5 and not died.exists()):\n"
        "            died.touch()\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().epochs(train, start, hyper, schedule, rng)\n"
    )
    result = swept(small, workers=2, **{"sweep.backends": "['mine.py:Mine']", "sweep.trials": 12})
    by_K: dict[int | None, set[str]] = {}
    for trial in result.trials["mine.py:Mine"]:
        by_K.setdefault(trial.K, set()).add("failed" if trial.outcome == "failed" else "done")
    assert by_K[2] == {"failed"}
    assert by_K[5] == {"done"}
    assert Path("died-5").exists()


def test_a_killed_sweep_goes_on_to_the_same_json(stored: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    small["model"]["epochs"] = 20  # so that there is time to be killed in
    whole = answer(small)
    for at in (1, 4):
        monkeypatch.chdir(_made(stored / f"killed-at-{at}"))
        shutil.copy(stored / "mlflow.db", ".")
        _kill_a_sweep(small, at)
        assert steady(answer(small)) == steady(whole)


def _kill_a_sweep(small: dict[str, Any], at: int) -> None:
    """Kill parent and worker once so many trials are finished."""
    process = subprocess.Popen(command(small), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while len(list(Path("runs").glob("*/loop/trial-*.json"))) < at and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.usefixtures("workplace")
def test_the_parent_alone_is_killed_and_its_workers_leave(small: dict[str, Any]) -> None:
    small["model"]["epochs"] = 100_000
    process = subprocess.Popen(command(small), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("this system does not list the children of a process")
    while not (workers := children.read_text().split()):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    while any(Path(f"/proc/{worker}/cmdline").exists() and _runs(worker) for worker in workers):
        time.sleep(0.01)


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _made(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.usefixtures("workplace")
def test_records_keep_every_number_to_the_last_bit(small: dict[str, Any]) -> None:
    result = swept(small, **{"sweep.backends": "[mean]"})
    for record in study_records(result.study):
        written = read_record(record.path).model_dump()
        assert Record.model_validate_json(record.model_dump_json()).model_dump() == record.model_dump() == written
