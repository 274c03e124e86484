"""One MLflow server on PostgreSQL for several people: real ones, with passwords, and killed while two folders export."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import requests
from exported import artifact, runs_of
from processes import ended, started
from record_factory import STUDY, record, sweep_records, write
from servers import free_port
from waiting import wait_until

from mfbench.runs.record_files import study_records
from mfbench.tracking.exported import exported_record
from mfbench.tracking.store import StoreError

AUTH = """[mlflow]
default_permission = MANAGE
database_uri = {database}
admin_username = admin
auth_cache_ttl_seconds = 60
"""
PASSWORD = "a-long-password"
DRIVER = """
import sys
from record_factory import STUDY, swept
from mfbench.runs.record_files import study_records
from mfbench.tracking.export import Export
with Export("little") as out:
    for study in sys.argv[1:]:
        for one in study_records(study):
            out.put(one)
    out.close_sweep(swept(list(study_records(STUDY))))
print(out.problem)
"""


def program(name: str) -> str:
    """The path of a program of PostgreSQL, which Debian keeps off the PATH."""
    places = [os.environ["PATH"], *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
    return shutil.which(name, path=os.pathsep.join(places)) or pytest.skip(f"{name} of PostgreSQL is not installed")


@contextmanager
def postgres() -> Iterator[str]:
    """The address of an empty database in a folder of its own; as root by another user, since PostgreSQL demands that."""
    init, serve = program("initdb"), program("postgres")
    user: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, "nobody")
        said: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **user}
        new = ("--username=mlflow", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        subprocess.run([init, "--pgdata=db", *new], check=True, **said)
        settings = ("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
        with subprocess.Popen([serve, "-D", "db", "-k", folder, "-p", str(port), *settings], **said) as process:
            try:
                yield f"postgresql+psycopg://mlflow@127.0.0.1:{port}/postgres"
            finally:
                process.send_signal(signal.SIGINT)  # a fast shutdown


@contextmanager
def server(database: str, port: int) -> Iterator[None]:
    """`mlflow server` as in `deploy/`, killed at the end."""
    Path("auth.ini").write_text(AUTH.format(database=database))
    settings = {
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "secret", "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_AUTH_CONFIG_PATH": str(Path("auth.ini").resolve()), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip
    words = ("--backend-store-uri", database, "--artifacts-destination", "artifacts", "--app-name", "basic-auth")
    with open("server.log", "a") as log:  # noqa: PTH123
        given: dict[str, Any] = {"settings": settings, "stdout": log, "stderr": log}
        with started("-m", "mlflow", "server", *words, "--workers", "1", "--port", str(port), **given):
            wait_until(lambda: answers(port))
            yield


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.mark.long
@pytest.mark.usefixtures("workplace")
def test_what_two_folders_export_to_one_server_is_there_whole_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, package in (("psycopg", "psycopg"), ("flask_wtf", "Flask-WTF")):
        if find_spec(module) is None:
            pytest.skip(f"{package} is not installed: pip install 'mfbench[server]'")
    port, users = free_port(), ("alice", "bob")
    address = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    common = sweep_records()
    own = {user: [record(n, study=f"{user}-0badcafe", seed=n + ord(user[0])) for n in range(12)] for user in users}
    with postgres() as database, ExitStack() as stack, ExitStack() as drivers:
        stack.enter_context(server(database, port))
        folders = []
        for user in users:
            given = {"username": user, "password": PASSWORD}
            requests.post(f"{address}/api/2.0/mlflow/users/create", json=given, auth=("admin", PASSWORD)).raise_for_status()
            folders.append(Path(user).resolve())
            folders[-1].mkdir()
            with monkeypatch.context() as patch:
                patch.chdir(folders[-1])
                write([*common, *own[user]])
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        both = []
        for user, folder in zip(users, folders, strict=True):
            words = ("-c", DRIVER, STUDY, f"{user}-0badcafe")
            both.append(drivers.enter_context(started(*words, cwd=folder, settings={"MLFLOW_TRACKING_USERNAME": user})))
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "alice")
        artifacts = Path("artifacts")
        wait_until(lambda: len(list(artifacts.rglob("record.json"))) > 5)
        stack.close()
        stack.enter_context(server(database, port))
        for process in both:
            status, out, err = ended(process)
            assert (status, out) == (0, "None\n"), err

        found = runs_of("little")
        keys = Counter(run.data.tags["mfbench.run_key"] for run in found)
        parents = {STUDY, *(one[0].study for one in own.values())}
        assert keys == Counter([*parents, *(one.run_key for one in [*common, *own["alice"], *own["bob"]])])
        assert {run.data.tags["mfbench.run_key"] for run in found if run.info.status == "RUNNING"} <= parents - {STUDY}
        ids = {run.data.tags["mfbench.run_key"]: run.info.run_id for run in found}
        for run in found:
            study, key = run.data.tags["mfbench.study"], run.data.tags["mfbench.run_key"]
            if key not in parents:
                assert run.data.tags["mlflow.parentRunId"] == ids[study]
                assert exported_record(run.info.run_id).run_key == key
        monkeypatch.chdir("bob")
        for one in study_records("bob-0badcafe"):
            assert artifact(ids[one.run_key], "record.json").read_bytes() == one.path.read_bytes()
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "another")
        with pytest.raises(StoreError, match=r"401|not authenticated"):
            exported_record(ids[common[0].run_key])
