"""The examples in docstrings run as tests, each in an empty folder; the current folder is where mfbench keeps runs."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _folder_of_an_example(request: pytest.FixtureRequest) -> None:
    if not isinstance(request.node, pytest.DoctestItem):
        return
    folders: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    shared = folders.getbasetemp() / "examples"
    shared.mkdir(exist_ok=True)
    patch.chdir(folders.mktemp("example"))
    patch.setenv("MFBENCH_DATA", str(Path.cwd() / "data"))
    patch.setenv("MFBENCH_CACHE", str(shared / "cache"))
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared / 'mlflow.db'}")  # creating a store takes seconds
