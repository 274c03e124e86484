"""`mfbench dashboard`: trials as Optuna reads them from the journal, and Optuna's own page of them."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, TrialState
from processes import python, started
from record_factory import STUDY, altered, record, rewritten, spec, sweep_records, write
from refusals import refused
from servers import free_port
from waiting import SECONDS, wait_until

from mfbench.core.errors import RecordError, WorkError
from mfbench.runs.record_files import study_records
from mfbench.runs.records import Record
from mfbench.tracking.journal import JOURNAL, open_journal, update

FAIL = TrialState.FAIL
STATES = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "diverged": FAIL, "failed": FAIL}


def exported() -> int:
    """The number of trials that an export by a process of its own would add."""
    return update(open_journal())


def journal() -> JournalStorage:
    """The file as any user of Optuna opens it."""
    return JournalStorage(JournalFileBackend(str(JOURNAL)))


def trials(name: str) -> list[FrozenTrial]:
    found: list[FrozenTrial] = optuna.load_study(study_name=name, storage=journal()).trials
    return found


def names() -> set[str]:
    return set(optuna.get_all_study_names(journal()))


def agree(trial: FrozenTrial, made: Record) -> None:
    """Optuna's trial says what the record says."""
    assert trial.number == made.number
    assert trial.state == STATES[made.outcome]
    assert trial.params == {name: made.hyper[name] for name in trial.params}
    scored = zip(made.scores.epoch, made.scores.valid_rmse, strict=True)
    assert trial.intermediate_values == {epoch: value for epoch, value in scored if value is not None}
    assert trial.values == (None if trial.state == FAIL else [made.valid_rmse])
    assert trial.datetime_start is not None
    assert trial.datetime_complete is not None
    assert trial.datetime_start.timestamp() == pytest.approx(made.started, abs=1e-5)
    assert trial.datetime_complete.timestamp() == pytest.approx(made.ended, abs=1e-5)
    assert (trial.user_attrs["run_key"], trial.user_attrs["backend"]) == (made.run_key, made.backend)


@pytest.mark.usefixtures("workplace")
def test_optuna_reads_the_trials_of_a_sweep_as_they_were_recorded(swept: tuple[Path, Any]) -> None:
    shutil.copytree(swept[0] / "runs", "runs")
    study = swept[1]["study"]
    records = [made for made in study_records(study) if made.stage == "trial"]
    assert exported() == len(records) > 0
    assert names() == {f"{study}/{backend}" for backend in ("loop", "jax", "adam", "mean")}
    for name in names():
        made = [one for one in records if name == f"{study}/{one.backend}"]
        for trial, one in zip(trials(name), made, strict=True):
            agree(trial, one)
            assert trial.params.keys() == ({"K"} if one.backend != "mean" else set())
    best = min((one for one in records if one.backend == "loop"), key=lambda one: one.valid_rmse or 9)
    assert optuna.load_study(study_name=f"{study}/loop", storage=journal()).best_value == best.valid_rmse


@pytest.mark.usefixtures("workplace")
def test_every_outcome_has_its_state_and_the_test_part_is_not_in_the_file() -> None:
    records = sweep_records()
    write(records)
    assert exported() == 8
    assert names() == {f"{STUDY}/jax", f"{STUDY}/adam"}
    for backend in ("jax", "adam"):
        made = [one for one in records if (one.backend, one.stage) == (backend, "trial")]
        for trial, one in zip(trials(f"{STUDY}/{backend}"), made, strict=True):
            agree(trial, one)
            assert trial.params.keys() == {"K", "alpha", "beta"}
    assert "test_" not in JOURNAL.read_text()
    assert "final" not in JOURNAL.read_text()


@pytest.mark.usefixtures("workplace")
def test_an_export_that_is_repeated_changes_nothing_and_then_only_adds() -> None:
    write([record(number) for number in range(3)])
    assert exported() == 3
    before = JOURNAL.read_bytes()
    assert exported() == 0
    assert JOURNAL.read_bytes() == before
    write([record(4)])
    assert exported() == 0, "trial 4 would become number 3 of Optuna's study"
    write([record(3)])
    assert exported() == 2
    assert JOURNAL.read_bytes().startswith(before)
    for trial, number in zip(trials(f"{STUDY}/jax"), range(5), strict=True):
        agree(trial, record(number))


@pytest.mark.usefixtures("workplace")
def test_two_processes_export_the_same_records_once() -> None:
    first, second = open_journal(), open_journal()
    write([record(0), record(1)])
    assert (update(first), update(second)) == (2, 0)
    write([record(2)])
    assert (update(second), update(first)) == (1, 0)
    assert len(trials(f"{STUDY}/jax")) == 3


@pytest.mark.usefixtures("workplace")
def test_an_export_that_was_killed_is_continued_at_once_and_each_trial_is_there_once() -> None:
    write([record(number) for number in range(4)])
    kill = (
        "import os, signal\n"
        "from mfbench.tracking.journal import open_journal, update\n"
        "whole, logs = os.fsync, []\n"
        "def fsync(file):\n"
        "    whole(file)\n"
        "    logs.append(file)\n"
        "    if len(logs) == LINES: os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.fsync = fsync\n"
        "update(open_journal())\n"
    )
    for lines in (1, 2, 5, 1):
        status, _, err = python("-c", kill.replace("LINES", str(lines)))
        assert status == -signal.SIGKILL, err
    code = "from mfbench.tracking.journal import open_journal, update; print(update(open_journal()))"
    assert python("-c", code) == (0, "1\n", ""), "Optuna warns when it waits for the lock of a process that is gone"
    for trial, number in zip(trials(f"{STUDY}/jax"), range(4), strict=True):
        agree(trial, record(number))


@pytest.mark.usefixtures("workplace")
def test_a_trial_that_was_trained_again_and_a_study_that_was_deleted_are_followed() -> None:
    write([record(0), record(1, outcome="failed"), record(2), record(0, backend="adam"), record(0, study="other-0badcafe")])
    storage = open_journal()
    update(storage)
    storage.create_new_study(study_name="of the user", directions=[optuna.study.StudyDirection.MAXIMIZE])
    write([record(1)])
    shutil.rmtree("runs/other-0badcafe")
    assert update(storage) == 3
    assert names() == {f"{STUDY}/jax", f"{STUDY}/adam", "of the user"}
    for trial, number in zip(trials(f"{STUDY}/jax"), range(3), strict=True):
        agree(trial, record(number))


@pytest.mark.usefixtures("workplace")
def test_with_repeats_a_trial_is_exported_as_their_mean_once_its_batch_is_done() -> None:
    twice = {"sweep": {**spec()["sweep"], "repeats": 2}}  # type: ignore[dict-item]
    made = [[altered(record(k), spec=twice), altered(record(k, seed=90 + k), spec=twice, repeat=1)] for k in range(5)]
    for first, second in made:  # the repeats of a trial have the same hyperparameters
        second.hyper = first.hyper
    write([made[0][0], made[1][0], made[1][1]])
    assert exported() == 0
    write([made[0][1], made[2][0]])
    assert exported() == 2
    write([made[2][1], *made[3], *made[4]])
    assert exported() == 2
    write([record(4, stage="final")])
    assert exported() == 1
    for trial, (first, second) in zip(trials(f"{STUDY}/jax"), made, strict=True):
        curves = zip(first.scores.valid_rmse, second.scores.valid_rmse, strict=True)
        mean = [(one + other) / 2 for one, other in curves if one is not None and other is not None]
        assert list(trial.intermediate_values.values()) == pytest.approx(mean)
        assert trial.value == pytest.approx(min(mean))


@pytest.mark.usefixtures("workplace")
def test_two_objectives_are_two_values_with_their_names() -> None:
    both = {"sweep": {**spec()["sweep"], "objectives": ["valid_rmse", "K"]}}  # type: ignore[dict-item]
    made = [altered(record(number), spec=both) for number in range(2)]
    write(made)
    exported()
    study = optuna.load_study(study_name=f"{STUDY}/jax", storage=journal())
    assert study.metric_names == ["valid_rmse", "K"]
    assert [trial.values for trial in study.trials] == [[one.valid_rmse, one.K] for one in made]


@pytest.mark.usefixtures("workplace")
def test_a_record_that_was_changed_out_of_its_range_is_named() -> None:
    write([record(0)])
    made = rewritten(record(0).path, hyper={**record(0).hyper, "K": 1000})
    with refused(RecordError, str(made.path), "K = 1000 is outside its range", "rerun the sweep"):
        exported()


@pytest.mark.usefixtures("workplace")
def test_an_unfinished_line_is_cut_off_and_another_damage_is_named() -> None:
    write([record(number) for number in range(3)])
    exported()
    whole = JOURNAL.read_bytes()
    JOURNAL.write_bytes(whole[:-40])
    assert exported() == 1
    assert len(trials(f"{STUDY}/jax")) == 3
    JOURNAL.write_bytes(whole.replace(b"op_code", b"opcode", 1))
    with refused(WorkError, "optuna.journal", "damaged", "delete it"):
        exported()


@pytest.mark.usefixtures("workplace")
def test_without_the_package_the_command_says_how_to_install_it(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    status, out, err = command("dashboard")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "pip install 'mfbench[dashboard]'" in err
    assert not JOURNAL.exists()


# --- the page --------------------------------------------------------------------------------------------------------


def asked(address: str, host: str | None = None, method: str = "GET") -> tuple[int, Any]:
    """The status and the JSON of an answer."""
    request = urllib.request.Request(address, headers={"Host": host} if host else {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.usefixtures("workplace")
def test_optunas_page_shows_the_studies_and_each_trial_that_is_added_and_nothing_else_may_be_asked_of_it() -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed: pip install 'mfbench[dashboard]'")
    write(sweep_records())
    port = str(free_port())
    words = ["dashboard", "--no-open", "--port", port]
    with started("-u", "-m", "mfbench", *words, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        said = process.stdout.readline().split()
        assert said == ["Optuna's", "dashboard:", f"http://127.0.0.1:{port}"], said + process.stdout.readlines()
        studies = f"{said[2]}/api/studies"
        status, found = asked(studies)
        assert status == 200
        ids = {one["study_name"]: one["study_id"] for one in found["study_summaries"]}
        assert ids.keys() == {f"{STUDY}/jax", f"{STUDY}/adam"}

        def shown() -> list[Any]:
            trials: list[Any] = asked(f"{studies}/{ids[f'{STUDY}/jax']}")[1]["trials"]
            return trials

        assert [trial["state"] for trial in shown()] == ["Complete", "Fail", "Complete", "Pruned"]
        write([record(4)])
        wait_until(lambda: len(shown()) == 5)
        assert shown()[4]["values"] == [record(4).valid_rmse]

        page = urllib.request.urlopen(f"{said[2]}/dashboard", timeout=30).read().decode()
        (script,) = re.findall('<script[^>]* src="([^"]+)"', page)
        assert urllib.request.urlopen(f"{said[2]}{script}", timeout=30).status == 200

        assert asked(studies, host=f"localhost:{port}")[0] == 200
        for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}"):
            status, answer = asked(studies, host)
            assert status == 403
            assert "localhost only" in answer["reason"]
        status, answer = asked(f"{studies}/{ids[f'{STUDY}/jax']}", method="DELETE")
        assert status == 403
        assert "cannot change them" in answer["reason"]

        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0
        assert "mfbench: 1 more trial exported to optuna.journal" in out.splitlines()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(studies, timeout=5)
