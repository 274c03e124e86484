"""What the tests share: a workplace of their own, and a small spec."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings
from processes import answer
from user_files import write_spec
from waiting import SECONDS

from mfbench.commands.cli.main import main
from mfbench.search.workers import Workers
from mfbench.tracking.store import make_store

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

LONG = {
    f"test_{name}.py"
    for name in ("dvc_experiments", "kills", "cluster", "one_algorithm", "pipeline", "documentation", "races")
}
"""The files that take longest; begun last, they would leave one process to work alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what all tests of a session share, those in other processes of xdist too."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"


def work_in(folder: Path, shared: Path, patch: pytest.MonkeyPatch) -> None:
    """Make the folder the current one, with the shared data folder and compile cache, and MLflow's store in it."""
    patch.chdir(folder)
    patch.setenv("MFBENCH_DATA", str(shared / "data"))
    patch.setenv("MFBENCH_CACHE", str(shared / "cache"))
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)


def made_once(name: str, make: Callable[[], object], shared: Path) -> Path:
    """The folder of that name for all tests, which the first to come fills, in it; the others wait for that."""
    folder = shared / name
    folder.mkdir(parents=True, exist_ok=True)
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock"), timeout=240), pytest.MonkeyPatch.context() as patch:
        if not done.exists():
            work_in(folder, shared, patch)
            make()
            done.touch()
    return folder


@pytest.fixture
def workplace(tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with the data folder and the compile cache shared between the tests of a session."""
    work_in(tmp_path, shared, monkeypatch)
    return tmp_path


@pytest.fixture(scope="session")
def fresh_store(shared: Path) -> Path:
    """An empty MLflow store, made once: it takes seconds."""
    return made_once("store", make_store, shared) / "mlflow.db"


@pytest.fixture
def stored(workplace: Path, fresh_store: Path) -> Path:
    """A workplace whose MLflow store is there already."""
    shutil.copy(fresh_store, workplace)
    return workplace


@pytest.fixture
def small() -> dict[str, Any]:
    """A spec whose sweep takes a moment: 2,000 planted ratings, 6 trials of 3 epochs."""
    return {
        "name": "small",
        "data": {"planted": {"users": 60, "items": 80, "ratings": 2000, "seed": 1}},
        "split": {"kind": "random", "valid": 0.15, "test": 0.15, "seed": 7},
        "model": {"epochs": 3, "center": True, "bias": True, "init": {"normal": 0.1}, "seed": 3},
        "sweep": {
            "trials": 6,
            "batch": 3,
            "backends": ["loop"],
            "space": {
                "K": {"int": [2, 6]},
                "alpha": {"float": [0.002, 0.05], "log": True},
                "beta": {"float": [0.01, 0.5], "log": True},
            },
        },
    }


@pytest.fixture(scope="session")
def swept(shared: Path) -> tuple[Path, Any]:
    """A folder in which a sweep of four backends has run, and its --json."""
    spec = {
        "name": "everything",
        "data": {"planted": {"users": 60, "items": 80, "ratings": 2000, "seed": 1}},
        "split": {"kind": "random", "valid": 0.15, "test": 0.15, "seed": 7},
        "model": {"epochs": 8, "center": True, "bias": True, "init": {"normal": 0.1}},
        "sweep": {"trials": 6, "batch": 3, "backends": ["loop", "jax", "adam", "mean"], "space": {"K": {"int": [2, 6]}}},
    }

    def sweep() -> None:
        Path("said.json").write_text(json.dumps(answer("sweep", write_spec(spec), "--workers", "2")))

    folder = made_once("swept", sweep, shared)
    return folder, json.loads((folder / "said.json").read_text())


@pytest.fixture
def searched(swept: tuple[Path, Any], shared: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The --json of that sweep, whose folder is the current one."""
    work_in(swept[0], shared, monkeypatch)
    return swept[1]


@pytest.fixture(scope="session")
def crews() -> Iterator[dict[int, Workers]]:
    """Worker processes that serve many sweeps: starting them is what takes time."""
    found: dict[int, Workers] = {}
    yield found
    for crew in found.values():
        crew.__exit__(None, None, None)


@pytest.fixture
def served(
    crews: dict[int, Workers],
    fresh_store: Path,
    shared: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """As `stored`, for sweeps on backends of ours: they are served by those workers, in the one folder where these are."""

    def crew(cores: list[list[int]]) -> AbstractContextManager[Workers]:
        if len(cores) not in crews:
            crews[len(cores)] = Workers(cores)
        crews[len(cores)].tasks = 0
        return nullcontext(crews[len(cores)])

    folder = tmp_path_factory.getbasetemp() / "served"
    folder.mkdir(exist_ok=True)
    work_in(folder, shared, monkeypatch)
    # MLflow keeps a connection for each address, also when the file there is gone: each test's store has its own address.
    (folder / "mlflow.db").symlink_to(shutil.copy(fresh_store, tmp_path))
    monkeypatch.setattr("mfbench.search.sweep.Workers", crew)
    yield folder
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process, which takes a moment: exit code, stdout, stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["mfbench", *words])
        capsys.readouterr()
        status: Any = 0
        at_sigterm = signal.getsignal(signal.SIGTERM)
        try:
            main()
        except SystemExit as left:
            status = left.code or 0
        finally:
            signal.signal(signal.SIGTERM, at_sigterm)
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted ({mounted.stderr.strip()})")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True, timeout=SECONDS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real browser, without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'mfbench[browser]'")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no chromium or google-chrome on the path")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()
