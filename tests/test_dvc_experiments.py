"""`dvc exp run`: its records and its opening of the test part outlive the temporary copy of the project that it runs in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from dvc_project import dvc, fresh_clone, git

from mfbench.core.paths import workspace

pytest.importorskip("dvc", reason="dvc is not installed")
if shutil.which("git") is None:
    pytest.skip("git is not installed", allow_module_level=True)

SPEC = "experiments/tiny.yaml"  # its name is another than its file's
TINY = {
    "name": "little",
    "data": {"dataset": "planted-10k"},
    "split": {"kind": "random", "valid": 0.1, "test": 0.1},
    "model": {"epochs": 2, "seed": 0},
    "sweep": {"trials": 1, "batch": 1, "backends": ["als", "mean"], "space": {"K": 2, "beta": 0.1}},
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of one experiment that has not run, committed."""
    tree = fresh_clone(tmp_path_factory.mktemp("project"))
    pipeline = yaml.safe_load((tree / "dvc.yaml").read_text())
    pipeline["vars"] = [{"archives": [], "generated": ["planted-10k"]}]
    pipeline["vars"][0]["experiments"] = {"tiny": {"data": "planted-10k", "does": "sweep", "shows": "mae.png"}}
    for name in ("dvc.yaml", SPEC):
        (tree / name).write_text(yaml.safe_dump(pipeline if name == "dvc.yaml" else TINY, sort_keys=False))
    with (tree / ".gitignore").open("a") as ignored:
        ignored.write("!/results/tiny/\n")
    (tree / "dvc.lock").unlink()
    shutil.rmtree(tree / "results")
    for words in (
        ("config", "user.name", "t"),
        ("config", "user.email", "t@example.org"),
        ("add", "."),
        ("commit", "-qm", "tiny"),
    ):
        git(tree, *words)
    return tree


def openings(tree: Path) -> dict[str, str]:
    """The digest of the test part that each study has opened."""
    lines = [json.loads(log.read_text()) for log in tree.glob("runs/*/test-openings.jsonl")]
    return {line["study"]: line["test_digest"] for line in lines}


@pytest.mark.long
def test_an_experiment_in_a_temporary_copy_leaves_its_records_here_and_its_results_where_it_is_applied(tree: Path) -> None:
    said = dvc(tree, "exp", "run", "--temp", "--name", "first", "-S", f"{SPEC}:model.seed=3", "compare@tiny")
    (study,) = openings(tree)
    kept = tree / "runs" / study
    records = {path.relative_to(kept).as_posix(): path.read_bytes() for path in kept.glob("*/*.json")}
    assert records.keys() == {"als/trial-0000.json", "als/final-0000.json", "mean/floor-0000.json", "mean/trial-0000.json"}, (
        said
    )
    assert all(json.loads(content)["spec"]["model"]["seed"] == 3 for content in records.values())
    assert (tree / "mlflow.db").is_file()
    assert not (tree / "results").exists()
    assert yaml.safe_load((tree / SPEC).read_text()) == TINY

    dvc(tree, "exp", "apply", "first")
    assert yaml.safe_load((tree / SPEC).read_text())["model"]["seed"] == 3
    metrics = json.loads(dvc(tree, "metrics", "show", "--json"))[""]["data"]["results/tiny/metrics.json"]["data"]
    best = {"als": "als/final-0000.json", "mean": "mean/floor-0000.json"}[metrics["best"]]
    assert metrics["test_rmse"] == json.loads(records[best])["test_rmse"]
    dvc(tree, "repro", "sweep@tiny", "--force")  # it finds the records, and trains nothing
    assert {path.relative_to(kept).as_posix(): path.read_bytes() for path in kept.glob("*/*.json")} == records

    said = dvc(tree, "plots", "diff", "HEAD", "first", "--json", "--out", ".dvc/tmp/shown")
    plots = json.loads(said)["data"]
    (curves,), (board,) = (plots[f"results/tiny/{name}.csv"] for name in ("curves", "leaderboard"))
    assert curves["content"]["encoding"]["color"]["field"] == "backend"
    epochs = {int(line["epoch"]) for line in curves["content"]["data"]["values"] if line["backend"] == "als"}
    assert epochs == {1, 2}
    assert {line["backend"] for line in board["content"]["data"]["values"]} == {"als", "mean"}
    assert plots["results/tiny/mae.png"][0]["type"] == "image"
    git(tree, "checkout", "-q", ".")


@pytest.mark.long
def test_the_opening_of_a_queued_experiment_is_kept_though_the_experiment_is_removed(tree: Path) -> None:
    before = openings(tree)
    dvc(tree, "exp", "run", "--queue", "--name", "later", "-S", f"{SPEC}:model.seed=5", "compare@tiny")
    dvc(tree, "exp", "run", "--run-all")
    dvc(tree, "exp", "remove", "later")
    assert len(openings(tree)) == len(before) + 1


def test_the_workspace_is_the_project_only_in_a_copy_that_dvc_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "repository/part"  # a dvc project in a subfolder of its git repository
    copy = project / ".dvc/tmp/exps/standalone/tmpabc/part"
    for folder in (project / "deeper", copy / ".dvc", copy / "deeper"):
        folder.mkdir(parents=True)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(copy)
    assert workspace() == Path()
    monkeypatch.setenv("DVC_ROOT", str(project))
    assert workspace() == project
    monkeypatch.chdir(copy / "deeper")
    assert workspace() == project / "deeper"
    monkeypatch.chdir(project)
    assert workspace() == Path()
