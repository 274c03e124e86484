import http.client
import json
import math
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from record_factory import DATA, ENVIRONMENT, STUDY, record, sweep_records, swept, write

from mfbench import sweep
from mfbench.commands.compare import compared
from mfbench.core.errors import InputError, WorkError
from mfbench.data.sealed import log_opening
from mfbench.runs.record_files import model_path, sweep_lock
from mfbench.search.audit import audit
from mfbench.tracking.client import Tracker
from mfbench.tracking.export import Export, stop_killed_sweeps, sync
from mfbench.tracking.exported import experiment_id, exported_record, run_ids
from mfbench.tracking.store import make_store, shown, store_uri
from mfbench.tracking.ui import ui

TESTS = Path(__file__).parent
STATUS = {"completed": "FINISHED", "diverged": "FAILED", "failed": "FAILED", "pruned": "FINISHED"}


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch, fresh_store):
    """The current folder of each test, with an empty store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(fresh_store, tmp_path)
    return tmp_path


@pytest.fixture
def hasty(monkeypatch):
    """Hardly a pause before what failed is tried again."""
    monkeypatch.setattr("mfbench.tracking.export.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("mfbench.tracking.export.LAST_PAUSE", 0.01)


def export(records):
    with Export("little") as out:
        for made in records:
            out.put(made)
        if any(made.stage == "final" for made in records):
            out.close_sweep(swept(records, {"test_rmse": 0.5}))
    return out


def all_runs():
    tracker = Tracker("little")
    return list(tracker.client.search_runs([tracker.experiment_id], max_results=1000))


def everything(runs):
    """All that the store holds of runs, to be compared."""
    client = make_store()
    told = {}
    for run in runs:
        curves = {
            name: [(m.step, m.timestamp, repr(m.value)) for m in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        files = sorted(f.path for f in client.list_artifacts(run.info.run_id))
        info = (run.info.status, run.info.start_time, run.info.end_time, run.info.run_name)
        told[run.info.run_id] = (info, run.data.params, run.data.tags, curves, files, len(run.inputs.dataset_inputs))
    return told


def in_process(script, **more):
    """Python code in a process of its own, in the current folder."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS), **more}
    command = [sys.executable, "-c", script]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# --- what the store holds --------------------------------------------------------------------------------------------


def test_a_sweep_is_a_parent_with_a_child_for_each_record():
    records = sweep_records()
    write(records)
    out = export(records)
    assert out.problem is None
    runs = {run.data.tags["mfbench.run_key"]: run for run in all_runs()}
    assert runs.keys() == {STUDY} | {made.run_key for made in records} == out.run_ids.keys()
    assert Tracker("little").run_ids(STUDY) == out.run_ids
    parent = runs[STUDY]
    assert parent.data.tags["mfbench.stage"] == "sweep"
    assert "mfbench.outcome" not in parent.data.tags
    assert parent.info.status == "FINISHED"
    for made in records:
        run = runs[made.run_key]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.status == STATUS[made.outcome]
        assert (run.info.start_time, run.info.end_time) == (made.started * 1000, made.ended * 1000)
        expected = {
            "run_key": made.run_key,
            "result": made.result,
            "study": STUDY,
            "stage": made.stage,
            "outcome": made.outcome,
            "data_digest": DATA["data_digest"],
            "split_digest": DATA["split_digest"],
            "git_commit": ENVIRONMENT["git_commit"],
        }
        assert {f"mfbench.{name}": value for name, value in expected.items()}.items() <= run.data.tags.items()
        (dataset,) = [given.dataset for given in run.inputs.dataset_inputs]
        assert dataset.name == "planted"
        assert DATA["data_digest"].startswith(dataset.digest)
        by_id, by_digits = exported_record(run.info.run_id), exported_record(run.info.run_id[:8])
        assert by_id.model_dump() == by_digits.model_dump() == made.model_dump()
    names = {runs[made.run_key].info.run_name for made in records}
    assert {"jax #0", "adam #3 pruned", "jax final", "mean floor"} <= names


@pytest.mark.long
def test_a_pruned_trial_that_an_older_version_exported_reads_like_the_others_once_its_sweep_goes_on():
    records = sweep_records()
    write(records)
    export(records)
    whole, client = everything(all_runs()), make_store()
    older = [run for run in all_runs() if run.data.tags.get("mfbench.outcome") == "pruned"]
    assert len(older) == 2
    for run in older:
        client.update_run(run.info.run_id, name=run.info.run_name.removesuffix(" pruned"))
        client.set_terminated(run.info.run_id, "KILLED", run.info.end_time)
    tracker = Tracker("little")
    sweep_itself = swept(records, {"test_rmse": 0.5})
    for _ in range(2):  # the second time there is nothing left to change
        tracker.close_sweep(tracker.open_sweep(records[0]), sweep_itself)
        assert everything(all_runs()) == whole


def test_a_record_is_read_without_a_progress_bar(capfd, monkeypatch):
    made = record(2)
    run_id = export([made]).run_ids[made.run_key]
    monkeypatch.delenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", raising=False)
    capfd.readouterr()
    assert exported_record(run_id).model_dump() == made.model_dump()
    assert capfd.readouterr() == ("", "")


def test_params_are_the_hyperparameters_and_the_knobs_that_are_set():
    made = record(2)
    run_id = export([made]).run_ids[made.run_key]
    params = make_store().get_run(run_id).data.params
    assert float(params["alpha"]) == made.alpha
    assert float(params["beta"]) == made.beta
    expected = {
        "backend": "jax", "K": str(made.K), "epochs": "10", "center": "true", "bias": "false", "seed": "3",
        "batch_size": "64", "mode": "waves",
    }  # fmt: skip
    assert params.items() >= expected.items()
    assert params.keys() == expected.keys() | {"alpha", "beta"}


def test_metrics_by_epoch_are_the_record_to_the_last_bit():
    made = record(2)
    run_id = export([made]).run_ids[made.run_key]
    client = make_store()
    for name in ("train_rmse", "train_mae", "valid_rmse", "valid_mae"):
        history = sorted(client.get_metric_history(run_id, name), key=lambda m: m.step)
        assert [m.step for m in history] == made.scores.epoch
        assert [m.value for m in history] == getattr(made.scores, name)
        assert [m.timestamp for m in history] == [round(1000 * (made.started + s)) for s in made.scores.train_seconds]
    metrics = client.get_run(run_id).data.metrics
    assert metrics["best_valid_rmse"] == made.valid_rmse
    assert metrics["best_epoch"] == made.best_epoch
    assert metrics["train_seconds"] == made.clocks.train_seconds
    assert metrics["system/compile_seconds"] == made.clocks.compile_seconds
    assert not any("test" in name for name in metrics)


def test_the_best_epoch_of_a_plain_run_is_not_its_last():
    made = record(0, stage="run", epochs=12)
    made.scores.valid_rmse[4] = 0.5
    made.best_epoch, made.valid_rmse = 5, made.scores.valid_rmse[-1]
    run = make_store().get_run(export([made]).run_ids[made.run_key])
    metrics = run.data.metrics
    assert (metrics["best_valid_rmse"], metrics["best_epoch"]) == (0.5, 5)
    assert metrics["valid_rmse"] == made.valid_rmse
    assert run.info.run_name == f"jax run K={made.K} alpha={made.alpha:.3g} beta={made.beta:.3g}"


def test_a_run_that_diverged_ends_in_nan():
    made = record(1, outcome="diverged")
    run_id = export([made]).run_ids[made.run_key]
    run = make_store().get_run(run_id)
    assert math.isnan(run.data.metrics["valid_rmse"])
    assert math.isfinite(run.data.metrics["best_valid_rmse"])
    assert run.info.status == "FAILED"


def test_long_curves_take_several_calls_and_lose_nothing():
    made = record(0, epochs=700)
    run_id = export([made]).run_ids[made.run_key]
    history = make_store().get_metric_history(run_id, "valid_mae")
    assert [m.value for m in sorted(history, key=lambda m: m.step)] == made.scores.valid_mae


def test_finals_have_single_numbers_and_stand_on_the_parent_too():
    records = sweep_records()
    write(records)
    out = export(records)
    client = make_store()
    final = next(made for made in records if made.stage == "final" and made.backend == "adam")
    for name in ("valid_rmse", "valid_mae", "test_rmse", "test_mae"):
        (point,) = client.get_metric_history(out.run_ids[final.run_key], name)
        assert (point.value, point.step) == (getattr(final, name), 0)
    warned = audit([made for made in records if made.stage == "trial"]).warnings()
    assert warned
    for run_key in (STUDY, *(made.run_key for made in records if made.stage in ("final", "floor"))):
        note = client.get_run(out.run_ids[run_key]).data.tags["mlflow.note.content"]
        assert " of 3** on the valid part: RMSE" in note
        assert "mfbench reproduce" in note
        assert all(sentence in note for sentence in warned)
    parent = client.get_run(out.run_ids[STUDY]).data.metrics
    assert parent["adam.test_rmse"] == final.test_rmse
    assert parent["mean.valid_rmse"] == next(made for made in records if made.stage == "floor").valid_rmse
    assert parent["oracle.test_rmse"] == 0.5


def test_artifacts_hold_the_run_and_no_pickle():
    records = [*sweep_records(), record(0, stage="run", study="little-11111111")]
    write(records)
    out = export(records)
    client = make_store()
    whole = {"record.json", "spec.yaml", "environment.json", "model", "learning_curves.png"}
    for made in records:
        run_id = out.run_ids[made.run_key]
        files = {f.path for f in client.list_artifacts(run_id)}
        assert files == {"trial": {"record.json"}, "floor": whole - {"learning_curves.png"}}.get(made.stage, whole)
        assert Path(client.download_artifacts(run_id, "record.json")).read_bytes() == made.path.read_bytes()
        if made.stage != "trial":
            model = Path(client.download_artifacts(run_id, "model/model.npz"))
            assert not model.is_symlink()
            assert model.read_bytes() == model_path(made.path).read_bytes()
    parent = client.list_artifacts(out.run_ids[STUDY])
    assert {f.path for f in parent} == {
        "audit.md", "leaderboard.md", "spec.yaml", "sweep.png", "sweep.html", "learning_curves.png", "learning_curves.html",
        "alpha_beta.png", "mae.png", "trade_off.png",
    }  # fmt: skip
    assert "mlflow.parentRunId" not in client.get_run(out.run_ids["little-11111111/jax/0/run"]).data.tags


def test_the_audit_stands_on_the_parent():
    trials = [record(number) for number in range(24)]
    records = [*trials, record(0, stage="final", seed=9)]
    write(records)
    log_opening("other-11111111", "a split", DATA["test_digest"], "to see")
    out = export(records)
    shares = audit(trials).importances()["jax"]
    assert shares.keys() == {"K", "alpha", "beta"}
    parent = make_store().get_run(out.run_ids[STUDY])
    assert {name: parent.data.metrics[f"jax.importance_{name}"] for name in shares} == shares
    assert parent.data.metrics["test_openings"] == 1
    page = Path(make_store().download_artifacts(out.run_ids[STUDY], "audit.md")).read_text()
    assert page == audit(trials).markdown()
    assert "opened by 1 other study (other-11111111)" in page


def test_the_leaderboard_is_ordered_by_valid():
    records = sweep_records()
    finals = [made for made in records if made.stage == "final"]
    finals[0].valid_rmse, finals[0].test_rmse = 0.9, 0.99
    finals[1].valid_rmse, finals[1].test_rmse = 0.8, 1.01
    out = export(records)
    board = Path(make_store().download_artifacts(out.run_ids[STUDY], "leaderboard.md")).read_text()
    assert [line.split("|")[1].strip() for line in board.splitlines()[2:]] == ["adam", "jax", "mean", "oracle"]


def test_nothing_we_write_names_this_machine_or_its_user(store, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "some-host")
    monkeypatch.setattr("getpass.getuser", lambda: "some-user")
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, "some-user")
    records = sweep_records()
    write(records)
    export(records)
    told = json.dumps([(run.data.tags, run.data.params, run.info.user_id) for run in all_runs()])
    written = [path for path in (store / "mlruns").rglob("*") if path.is_file()]
    assert written
    told += "".join(path.read_bytes().decode(errors="replace") for path in written)
    for private in (str(store), "some-host", "some-user", "mlflow.user", "mlflow.source"):
        assert private not in told
    assert not re.search(r'["\' ]/(home|tmp|work|root)\b', told)


def test_runs_lie_beside_the_database_wherever_it_is(store, monkeypatch):
    elsewhere = store / "elsewhere"
    elsewhere.mkdir()
    shutil.move("mlflow.db", elsewhere / "runs.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}/runs.db")
    made = record(0)
    run_id = export([made]).run_ids[made.run_key]
    assert (elsewhere / "mlruns/little" / run_id / "artifacts/record.json").exists()
    assert not Path("mlruns").exists()
    assert not Path("mlflow.db").exists()


# --- again, and after a kill -----------------------------------------------------------------------------------------


def test_the_parent_of_a_sweep_that_was_killed_is_stopped_unless_the_sweep_runs():
    trials = [made for made in sweep_records() if made.stage == "trial"]
    write(trials)
    export(trials)
    tracker = Tracker("little")
    parent = tracker.running_sweep(STUDY)
    with sweep_lock(STUDY):
        stop_killed_sweeps()
        assert sync(STUDY) == 0
        assert tracker.running_sweep(STUDY) == parent
    for stops in (stop_killed_sweeps, lambda: sync(STUDY)):
        tracker.client.update_run(parent, "RUNNING")
        stops()
        run = tracker.client.get_run(parent)
        assert (run.info.status, run.info.end_time) == ("KILLED", round(1000 * max(made.ended for made in trials)))


def test_exporting_twice_doubles_nothing():
    records = sweep_records()
    write(records)
    first = export(records)
    before = everything(all_runs())
    again = export(records)
    assert again.run_ids == first.run_ids
    assert sync(STUDY) == 0
    assert everything(all_runs()) == before


def test_closing_a_sweep_sends_the_records_that_an_earlier_export_did_not():
    records = sweep_records()
    with Export("little") as out:
        out.put(records[-1])
        out.close_sweep(swept(records))
    assert out.problem is None
    assert out.run_ids.keys() == {STUDY} | {made.run_key for made in records}


def test_a_finished_sweep_that_is_answered_again_looks_for_no_trial(monkeypatch, small, capsys):
    small["name"] = "little"
    before = sweep(small, trials=3)
    ids = {final.run_key: before.run_ids[final.run_key] for final in before.swept.finals}
    with monkeypatch.context() as patch:
        patch.delattr(Tracker, "exported")
        patch.delattr(Tracker, "export")
        again = sweep(small, trials=3)
    assert again.run_ids == {before.swept.study: before.run_ids[before.swept.study], **ids}
    assert [row.run_id for row in again.leaderboard()] == list(ids.values())
    longer = sweep(small, trials=4)
    assert longer.run_ids.keys() == {before.swept.study, *(made.run_key for made in longer.swept.records)}
    assert before.run_ids.items() - longer.run_ids.items() <= ids.items()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///another.db")
    afresh = sweep(small, trials=4)
    assert afresh.run_ids.keys() == longer.run_ids.keys()
    assert sorted(run.data.tags["mfbench.run_key"] for run in all_runs()) == sorted(longer.run_ids)
    assert "not exported" not in capsys.readouterr().err


def test_a_finished_sweep_is_answered_and_compared_without_importing_mlflow(small):
    Path("spec.json").write_text(json.dumps({**small, "name": "little"}))
    script = (
        "import json, sys, mfbench\n"
        "from mfbench.tracking.pages import charts_page, compare_page\n"
        "spec = json.load(open('spec.json'))\n"
        "result = mfbench.sweep(spec, trials=3)\n"
        "(board,) = mfbench.compare('little')\n"
        "ids = [row.run_id for row in board.board]\n"
        "print(sorted(result.run_ids.items()), ids, charts_page(result.swept.finals), compare_page('little', ids))\n"
        "print('mlflow' in sys.modules)\n"
    )
    made = sweep(small | {"name": "little"}, trials=3)
    here = os.pathsep.join(sys.path)
    said = [in_process(script, PYTHONPATH=here).communicate(timeout=120)[0].split("\n") for _ in "ab"]
    assert [imports for _, imports, _ in said] == ["True", "False"]  # the first time, the page of the charts is missing
    assert said[0][0] == said[1][0]
    assert all(run_id in said[0][0] for run_id in (made.run_ids[made.swept.study], made.leaderboard()[0].run_id))
    with sqlite3.connect("mlflow.db") as database:
        database.execute("ALTER TABLE tags RENAME TO labels")  # as a later MLflow may have it
    assert experiment_id("little") == Tracker("little").experiment_id
    with pytest.raises(WorkError, match="no such table"):
        run_ids("little", made.swept.study)


def test_a_trial_that_was_not_exported_is_exported_when_the_sweep_is_answered_again(monkeypatch, small):
    small["name"] = "little"
    whole = Tracker._send

    def refuse(self, run_id, metrics, params):
        if any(name == "best_epoch" for name, *_ in metrics):
            raise ValueError("this one is not liked")
        whole(self, run_id, metrics, params)

    with monkeypatch.context() as patch:
        patch.setattr("mfbench.tracking.export.FIRST_PAUSE", 0.01)
        patch.setattr("mfbench.tracking.export.LAST_PAUSE", 0.01)
        patch.setattr(Tracker, "_send", refuse)
        before = sweep(small, trials=3)
        assert not {trial.run_key for trial in before.swept.all_trials} & before.run_ids.keys()
    again = sweep(small, trials=3)
    assert again.run_ids.keys() == {again.swept.study, *(made.run_key for made in again.swept.records)}
    assert "RUNNING" not in {run.info.status for run in all_runs()}


def test_a_run_made_again_with_another_result_is_another_run():
    old, new = record(0, seed=1), record(0, seed=2)
    new.started, new.ended = old.started + 900, old.ended + 900
    assert export([old]).run_ids[old.run_key] != export([new]).run_ids[new.run_key]
    keys = [run.data.tags["mfbench.run_key"] for run in all_runs()]
    assert keys.count(old.run_key) == 2
    latest = make_store().get_run(Tracker("little").run_ids(STUDY)[old.run_key])
    assert latest.data.tags["mfbench.result"] == new.result


@pytest.mark.parametrize("step", ["_send", "_send_data", "_send_files", "client.set_terminated"])
def test_an_export_that_breaks_off_is_finished_by_the_next(monkeypatch, step):
    records = [record(0), record(0, stage="final"), record(0, backend="adam", stage="final")]
    write(records)
    tracker = Tracker("little")
    parent = tracker.open_sweep(records[0])
    target = tracker.client if step.startswith("client.") else tracker
    with monkeypatch.context() as patch:

        def broken(*_):
            raise OSError("the disk is full")

        patch.setattr(target, step.removeprefix("client."), broken)
        for made in records:
            with pytest.raises(OSError, match="disk"):
                tracker.export(made, parent)
    half = {run.info.run_id for run in all_runs()}
    assert {run.info.status for run in all_runs()} == {"RUNNING"}
    assert sync(STUDY) == 3
    assert {run.info.run_id for run in all_runs()} == half
    finished = {value[2]["mfbench.run_key"]: value for value in everything(all_runs()).values()}
    for made in records:
        info, params, _, curves, files, n_datasets = finished[made.run_key]
        assert info[0] == "FINISHED"
        assert params["K"] == str(made.K)
        assert [step for step, _, _ in sorted(curves["train_rmse"])] == made.scores.epoch
        assert "record.json" in files
        assert n_datasets == 1


def test_a_process_that_is_killed_while_it_exports_leaves_a_run_that_sync_finishes():
    records = sweep_records()
    write(records)
    killed = in_process(
        "import os, signal\n"
        "from record_factory import sweep_records\n"
        "from mfbench.tracking.client import Tracker\n"
        "whole = Tracker._send_files\n"
        "def kill(self, *given):\n"
        "    if len(self.run_ids(sweep_records()[0].study)) > 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    whole(self, *given)\n"
        "Tracker._send_files = kill\n"
        "from mfbench.tracking.export import Export\n"
        "with Export('little') as out: [out.put(r) for r in sweep_records()]\n"
    )
    assert killed.wait(60) == -signal.SIGKILL
    killed.communicate()
    before = {run.data.tags["mfbench.run_key"]: run.info.status for run in all_runs()}
    assert len(before) == 6
    assert list(before.values()).count("RUNNING") == 2  # the parent, and the one it was at
    assert sync(STUDY) == len(records) - 4
    after = {run.data.tags["mfbench.run_key"]: run.info.status for run in all_runs()}
    assert len(all_runs()) == len(records) + 1
    assert after == {STUDY: "FINISHED", **{made.run_key: STATUS[made.outcome] for made in records}}


def test_four_processes_with_a_fresh_store_make_each_run_once():
    Path("mlflow.db").unlink()
    records = [made for made in sweep_records() if made.stage == "trial"]
    write(records)
    script = (
        "from record_factory import sweep_records\n"
        "from mfbench.tracking.export import Export\n"
        "with Export('little') as out: [out.put(r) for r in sweep_records() if r.stage == 'trial']\n"
        "print(out.problem, sorted(out.run_ids.items()))\n"
    )
    processes = [in_process(script) for _ in range(4)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [err for _, err in said] == [""] * 4
    assert len({out for out, _ in said}) == 1
    assert said[0][0].startswith("None [")
    keys = [run.data.tags["mfbench.run_key"] for run in all_runs()]
    assert sorted(keys) == sorted([STUDY, *(made.run_key for made in records)])


# --- a store that cannot be had --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hasty")
def test_a_server_that_is_down_stops_nothing_and_sync_sends_all_later(monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://name:secret@127.0.0.1:{closed.getsockname()[1]}")
        records = sweep_records()
        write(records)
        out = export(records)
        assert out.problem is not None
        assert "12 of 12 runs are not exported (connection refused); export them later with `mfbench sync`" in out.problem
        assert "secret" not in out.problem
        with pytest.raises(WorkError, match="connection refused"):
            sync(STUDY)
        with pytest.raises(WorkError, match="connection refused"):
            exported_record("ab" * 16)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert sync(STUDY) == len(records)
    assert {run.info.status for run in all_runs()} == {"FINISHED", "FAILED"}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("answer", "reason"), [(500, "HTTP error 500"), (None, "timeout")], ids=["500", "silent"])
def test_a_server_that_is_ill_stops_nothing(monkeypatch, answer, reason):
    let_go = threading.Event()

    class Ill(BaseHTTPRequestHandler):
        def do_GET(self):
            if answer is None:
                let_go.wait(30)
            else:
                self.send_error(answer)

        def do_POST(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ill)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    started = time.monotonic()
    with Export("little", patience=2 if answer is None else 30) as out:
        out.put(record(0))
    assert time.monotonic() - started < 20
    assert out.problem is not None
    assert reason in out.problem
    let_go.set()
    server.shutdown()
    server.server_close()


class Unreliable(ThreadingHTTPServer):
    """Stands before a real server: each kind of call is first answered with 500, then dropped, then carried out without
    an answer, then late; after that as it should be."""

    ILLS = ("500", "dropped", "lost", "late")

    def __init__(self, address):
        super().__init__(("127.0.0.1", 0), Between)
        self.real = urlsplit(address).netloc
        self.calls = {}
        self.lock = threading.Lock()

    def ill(self, kind):
        """What is to go wrong with this call, if anything."""
        with self.lock:
            number = self.calls[kind] = self.calls.get(kind, -1) + 1
        return self.ILLS[number] if number < len(self.ILLS) else None


class Between(BaseHTTPRequestHandler):
    def carry(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.command, re.sub("/mlflow-artifacts/artifacts/.*", "/artifacts", urlsplit(self.path).path)
        server: Any = self.server
        ill = server.ill(kind)
        if ill == "500":
            self.send_error(500)
            return
        self.close_connection = True
        if ill == "dropped":
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        asked = http.client.HTTPConnection(server.real)
        asked.request(self.command, self.path, body, headers)
        answer = asked.getresponse()
        content = answer.read()
        asked.close()
        if ill == "lost":
            return
        if ill == "late":
            time.sleep(0.2)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        self.carry()

    def do_POST(self):
        self.carry()

    def do_PUT(self):
        self.carry()

    def do_PATCH(self):
        self.carry()

    def log_message(self, *_):
        pass


@pytest.fixture
def unreliable(store):  # noqa: ARG001
    """A real server, and what stands before it."""
    address, process = ui()
    try:
        with Unreliable(address) as between:
            threading.Thread(target=between.serve_forever, daemon=True).start()
            yield between
            between.shutdown()
    finally:
        process.terminate()
        process.wait()


@pytest.mark.long
@pytest.mark.usefixtures("hasty")
def test_a_sweep_through_a_server_that_fails_in_every_call_is_there_whole_and_once(monkeypatch, small, unreliable):
    monkeypatch.setenv("MFBENCH_DATA", str(Path("data").resolve()))
    monkeypatch.setattr("mfbench.tracking.export.FAILURES", 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{unreliable.server_port}")
    result = sweep(small)
    unreliable.ILLS = ()
    tracker = Tracker("small")
    runs = list(tracker.client.search_runs([tracker.experiment_id]))
    keys = [run.data.tags["mfbench.run_key"] for run in runs]
    records = result.swept.records
    assert sorted(keys) == sorted([result.swept.study, *(made.run_key for made in records)])
    assert {run.data.tags["mfbench.run_key"]: run.info.run_id for run in runs} == result.run_ids
    assert "RUNNING" not in {run.info.status for run in runs}
    for made in records:
        run_id = result.run_ids[made.run_key]
        history = tracker.client.get_metric_history(run_id, "train_rmse")
        assert sorted((m.step, m.value) for m in history) == list(zip(made.scores.epoch, made.scores.train_rmse, strict=True))
        kept = made.path.read_bytes()
        assert Path(tracker.client.download_artifacts(run_id, "record.json")).read_bytes() == kept
    names = {path.rpartition("/mlflow/")[2] for _, path in unreliable.calls}
    assert {"runs/create", "runs/search", "runs/log-batch", "runs/log-inputs", "runs/update"} <= names


@pytest.mark.usefixtures("hasty")
def test_a_record_that_mlflow_refuses_does_not_hold_up_the_others(monkeypatch):
    records = [record(number) for number in range(4)]
    whole = Tracker._send

    def refuse(self, run_id, metrics, params):
        if params["alpha"] == json.dumps(records[1].alpha):
            raise ValueError("this one is not liked")
        whole(self, run_id, metrics, params)

    monkeypatch.setattr(Tracker, "_send", refuse)
    out = export(records)
    assert out.run_ids.keys() == {made.run_key for made in records} - {records[1].run_key}
    assert out.problem is not None
    assert "1 of 4 runs are not exported (this one is not liked)" in out.problem


def test_a_slow_machine_is_given_the_time_that_a_silent_server_is_not(monkeypatch):
    monkeypatch.setattr("mfbench.tracking.export.SERVER_PATIENCE", 1e-9)
    out = export(sweep_records())
    assert out.problem is None


def test_an_experiment_that_was_deleted_is_named():
    tracker = Tracker("little")
    tracker.client.delete_experiment(tracker.experiment_id)
    write([record(0)])
    with pytest.raises(WorkError, match="the experiment little was deleted"):
        sync(STUDY)


def test_what_does_not_exist_is_an_input_error():
    with pytest.raises(InputError, match="no record of it"):
        sync("little-ffffffff")
    for run_id in ("ab" * 16, "../x", "no such run"):
        with pytest.raises(InputError, match="no such run of mfbench"):
            exported_record(run_id)


def test_the_ui_of_a_server_is_the_server_and_a_port_that_is_taken_is_named(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match=f"--port {taken.getsockname()[1]}: cannot listen"):
            ui(taken.getsockname()[1])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:word@example.org:5000")
    assert ui() == ("http://example.org:5000", None)


def test_the_store_is_where_the_variable_says(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store_uri() == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    assert store_uri() == "http://localhost:1"
    assert shown("postgresql://me:word@host/db") == "postgresql://host/db"


def test_an_export_that_puts_nothing_makes_no_run_and_says_nothing():
    assert export([]).problem is None
    assert all_runs() == []


@pytest.mark.parametrize(("alpha", "stops", "status"), [(500, WorkError, "FAILED"), (0.01, KeyboardInterrupt, "KILLED")])
def test_a_sweep_that_does_not_come_to_its_finals_is_not_left_running(monkeypatch, small, alpha, stops, status):
    if stops is KeyboardInterrupt:
        monkeypatch.setattr("mfbench.search.sweep._tell_how_worn", interrupt)
    small["name"], small["sweep"]["space"]["alpha"] = "little", {"float": [alpha, 2 * alpha]}
    small["sweep"]["trials"] = 2
    with pytest.raises(stops):
        sweep(small)
    (parent,) = [run for run in all_runs() if run.data.tags["mfbench.stage"] == "sweep"]
    assert parent.info.status == status


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_final_that_a_longer_search_has_replaced_is_told_apart(small):
    small["name"], small["sweep"]["space"] = "little", {"alpha": {"float": [0.001, 0.02]}}
    made = {}
    for trials in (1, 6, 1, 3, 6):
        (record,) = sweep(small, trials=trials).swept.finals
        made[record.number] = record
        best = min(made.values(), key=lambda one: one.valid_rmse)  # that of the longest search, not of the latest
        finals = {run.info.run_name: run for run in all_runs() if run.data.tags["mfbench.run_key"].endswith("/final")}
        replaced = {f"loop final of #{n}, replaced": "replaced" for n in made.keys() - {best.number}}
        assert {name: run.data.tags["mfbench.stage"] for name, run in finals.items()} == {"loop final": "final", **replaced}
        assert finals["loop final"].data.tags["mfbench.run_key"] == best.run_key
        assert [row.record.run_key for row in compared(["little"]).board] == [best.run_key]
    assert len(made) > 1
