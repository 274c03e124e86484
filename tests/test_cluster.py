"""A sweep on a Dask cluster: what local workers give, whatever happens to the cluster. Real schedulers and workers."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes import ended, last_line, mfbench, started
from steady import steady
from user_files import write_backend, write_spec
from waiting import wait_until

from mfbench.core.errors import InputError, SpecError, WorkError
from mfbench.search.cluster.crew import Cluster
from mfbench.search.cluster.description import described
from mfbench.search.cluster.description import started as cluster_of

pytestmark = [pytest.mark.usefixtures("stored"), pytest.mark.timeout(600)]


def answer_of(spec: dict[str, Any], *words: str) -> Any:
    """What the sweep of that spec says in --json, without what may differ; its records are gone afterwards."""
    write_spec(spec)
    status, out, err = mfbench("sweep", "spec.yaml", "--json", *words)
    assert status == 0, err
    Path("runs").rename(f"runs-{len(list(Path.cwd().glob('runs-*')))}")
    return steady(last_line(out))


@contextmanager
def scheduler(workers: int) -> Iterator[str]:
    """The address of a scheduler of its own process, with workers in processes of their own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    host, _, port = address.rpartition(":")
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    words = ("-m", "distributed.cli.dask_scheduler", "--host", host, "--port", port, "--no-dashboard")
    many = ("--nworkers", str(workers), "--nthreads", "1", "--no-dashboard", "--local-directory", str(Path.cwd() / "dask"))
    join = ("-m", "distributed.cli.dask_worker", f"tcp://{address}", *many)
    with started(*words, **quiet) as process, started(*join, **quiet):
        Path("scheduler.pid").write_text(str(process.pid))
        yield f"tcp://{address}"


def workers_below(pid: int) -> list[psutil.Process]:
    """The processes of the Dask workers that a sweep has started."""
    found = []
    for one in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if "multiprocessing.spawn" in " ".join(one.cmdline()):
                found.append(one)
    return found


def test_a_cluster_gives_what_local_workers_give(small: dict[str, Any]) -> None:
    small["sweep"] |= {"backends": ["numba", "mean"], "trials": 9, "pruner": "median"}
    small["split"] = {"kind": "kfold", "folds": 2, "test": 0.1, "seed": 7}
    arguments = {"n_workers": 0, "threads_per_worker": 1, "dashboard_address": None}
    write_spec({"class": "distributed.LocalCluster", "arguments": arguments, "workers": 2}, "cluster.yaml")
    assert answer_of(small, "--cluster", "cluster.yaml") == answer_of(small)


@pytest.mark.long
def test_a_cluster_that_is_there_trains_backends_and_metrics_of_ones_own(small: dict[str, Any]) -> None:
    small["sweep"] |= {"backends": [write_backend("pass")], "objectives": ["valid_worst"]}
    Path("worst.py").write_text("def worst(users, items, ratings, predicted):\n    return abs(ratings - predicted).max()\n")
    with Path("worst.py").open("a") as file:
        file.write("worst.higher_is_better = False\n")
    small["evaluation"] = {"extra": ["worst.py:worst"]}
    with scheduler(2) as address:
        assert answer_of(small, "--cluster", address) == answer_of(small)


@pytest.mark.long
def test_a_worker_that_is_killed_costs_its_task_only(small: dict[str, Any]) -> None:
    small["sweep"]["backends"] = [write_backend("time.sleep(0.5)")]
    write_spec(small)
    with started("-m", "mfbench", "sweep", "spec.yaml", "--json", "--cluster", "local:2") as process:
        wait_until(lambda: workers_below(process.pid))[0].kill()  # before it is ready
        wait_until(lambda: list(Path("runs").glob("*/mine*/trial-*.json")))
        workers_below(process.pid)[0].kill()
        code, out, err = ended(process)
    assert code == 0, err
    assert "Traceback" not in err
    Path("runs").rename("killed")
    assert steady(last_line(out)) == answer_of(small)


@pytest.mark.long
def test_a_cluster_that_goes_away_ends_the_sweep_with_a_sentence_and_the_command_goes_on(small: dict[str, Any]) -> None:
    small["sweep"]["backends"] = [write_backend("time.sleep(0.5)")]
    write_spec(small)
    with (
        scheduler(1) as address,
        started("-m", "mfbench", "sweep", "spec.yaml", "--json", "--cluster", address) as process,
    ):
        wait_until(lambda: list(Path("runs").glob("*/mine*/trial-*.json")))
        psutil.Process(int(Path("scheduler.pid").read_text())).kill()
        code, out, err = ended(process)
    assert (code, out) == (1, ""), err
    assert err.splitlines()[-1] == f"mfbench: {address}: the cluster has gone away; rerun the command to resume"
    status, resumed, err = mfbench("sweep", "spec.yaml", "--json")
    assert status == 0, err
    Path("runs").rename("resumed")
    assert steady(last_line(resumed)) == answer_of(small)


def test_ctrl_c_stops_the_sweep_and_its_own_cluster(small: dict[str, Any]) -> None:
    small["sweep"]["backends"] = [write_backend("time.sleep(0.5)")]
    write_spec(small)
    with started("-m", "mfbench", "sweep", "spec.yaml", "--cluster", "local:2") as process:
        wait_until(lambda: list(Path("runs").glob("*/mine*/trial-*.json")))
        workers = workers_below(process.pid)
        process.send_signal(signal.SIGINT)
        code, _, err = ended(process)
    assert code == 130, err
    assert "finished trials are saved; rerun the command to resume" in err
    assert "Traceback" not in err
    assert workers
    wait_until(lambda: not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers))


def test_what_names_no_cluster_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfbench.search.cluster.crew.CONNECT", "1s")
    with pytest.raises(InputError, match=r"--cluster local:0: give the number of workers, e.g. local:2"):
        described("local:0")
    with pytest.raises(SpecError, match=r"cluster.yaml: this file cannot be read \(No such file or directory\)"):
        described("cluster.yaml")
    Path("cluster.yaml").write_text("class: distributed.LocalCluster\nworker: 2\n")
    with pytest.raises(SpecError, match=r"cluster.yaml: .*worker"):
        described("cluster.yaml")
    Path("cluster.yaml").write_text("class: nowhere.Cluster\n")
    with pytest.raises(InputError, match=r"class: nowhere.Cluster cannot be imported"):
        cluster_of(described("cluster.yaml"))
    with pytest.raises(WorkError, match=r"tcp://127.0.0.1:1: the cluster cannot be used"):
        Cluster("tcp://127.0.0.1:1", [], [], print).start()
