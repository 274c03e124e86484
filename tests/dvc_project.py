"""A copy of this project as dvc sees it: with its pipeline, its specs and results, but without records or data."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from processes import python
from waiting import SECONDS

ROOT = Path(__file__).parents[1]
COMMITTED = [
    "dvc.yaml", "dvc.lock", ".dvcignore", ".dvc/config", ".dvc/.gitignore", ".dvc/plots", ".gitignore", "experiments",
    "results",
]  # fmt: skip


def dvc(tree: Path, *words: str) -> str:
    """What a dvc command says in that tree, with a cache and a data home of its own; it must succeed."""
    ours = ("MFBENCH_DATA", "MFBENCH_MIRROR", "MLFLOW_TRACKING_URI", "DVC_ROOT")
    environment = {name: value for name, value in os.environ.items() if name not in ours and not name.startswith("GIT_")}
    environment |= {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "DVC_SITE_CACHE_DIR": str(tree / ".dvc/tmp/site"),
        "DVC_GLOBAL_CONFIG_DIR": str(tree / ".dvc/tmp/global"),
        "COLUMNS": "200",
    }
    status, out, err = python("-m", "dvc", *words, cwd=tree, env=environment)
    assert status == 0, out + err
    return out


def git(tree: Path, *words: str) -> None:
    """A git command in that tree; it must succeed."""
    subprocess.run(["git", *words], cwd=tree, check=True, timeout=SECONDS)


def fresh_clone(folder: Path) -> Path:
    """Copy what is committed into the folder and make it a git repository, without a commit.

    Where dvc.lock is as committed, so are the results: reports that somebody has made here do not belong to the pipeline.
    """
    as_committed = (
        subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "dvc.lock"], cwd=ROOT, timeout=SECONDS).returncode == 0
    )
    if as_committed:
        packed = subprocess.run(
            ["git", "archive", "HEAD", "results"], cwd=ROOT, check=True, timeout=SECONDS, capture_output=True
        )
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
    for name in COMMITTED:
        if name == "results" and as_committed:
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target)
        else:
            shutil.copyfile(ROOT / name, target)
    git(folder, "init", "-q")
    return folder
