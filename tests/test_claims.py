"""Claims: a table and its records as one file, which somebody else can check, and which does nothing that it should not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from little_suite import two, without_export
from refusals import refused
from user_files import write_backend

import mfbench
from mfbench.backends import registry
from mfbench.core.errors import InputError, RecordError
from mfbench.runs.records import seal_of

Tree = dict[str, Any]


@pytest.fixture(scope="module")
def kept() -> dict[str, str]:
    """What all tests here share: the text of one claim."""
    return {}


@pytest.fixture
def claimed(served: Path, kept: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A claim as claim.json in a project that has no runs, as for somebody else."""
    without_export(monkeypatch)
    if not kept:
        mfbench.suite(two())
        found = mfbench.claim(two())
        assert found.path == Path("results/pair/claim.json")
        kept["text"] = found.path.read_text()
        shutil.rmtree("runs")
        shutil.rmtree("results")
    Path("claim.json").write_text(kept["text"])
    assert not (served / "runs").exists()
    tree: Tree = json.loads(kept["text"])
    return tree


def changed(tree: Tree, seal: bool = True, seal_record: bool = True, **fields: Any) -> Path:
    """The claim with these fields in the record of its first cell, by one who knows how to seal."""
    record = tree["cells"][0]["records"][0]
    record |= fields
    if seal_record:
        record["seal"] = seal_of(record)
    return written(tree, seal)


def written(tree: Tree, seal: bool = True) -> Path:
    if seal:
        tree["seal"] = seal_of(tree)
    Path("changed.json").write_text(json.dumps(tree))
    return Path("changed.json")


def test_what_is_claimed_is_made_again_to_the_bit_where_it_was_never_run(claimed: Tree) -> None:
    found = mfbench.verify("claim.json")
    assert found.verified
    assert [one.verdict for one in found.cells] == ["to the bit"] * 4
    assert [one.here for one in found.cells] == [one["test_rmse"] for one in claimed["cells"]]
    assert found.sentence == "pair: of 4 cells 4 to the bit"
    assert not list(Path("runs").rglob("*.json"))  # but lines in the log of openings


def test_a_claim_holds_what_a_reader_asks_for(claimed: Tree) -> None:
    for cell in claimed["cells"]:
        (record,) = cell["records"]
        assert cell["test_rmse"] == record["test_rmse"]
        assert record["seal"] == seal_of(record)
        assert record["spec"]["name"] == f"pair.{cell['dataset']}"
        assert {"numpy", "mfbench"} <= record["environment"]["versions"].keys()
        assert record["environment"]["source"]
        (opening,) = claimed["openings"][record["data"]["test_digest"]]
        assert opening["study"] == record["study"]
    assert [cell["trials"] for cell in claimed["cells"]] == [2, 1, 2, 1]


def test_a_sample_is_drawn_by_the_readers_seed(claimed: Tree) -> None:  # noqa: ARG001
    drawn = {}
    for seed in range(6):
        found = mfbench.verify("claim.json", sample=1, seed=seed)
        assert (len(found.cells), found.left_out) == (1, 3)
        drawn[seed] = found.cells
    assert mfbench.verify("claim.json", sample=1, seed=0).cells == drawn[0]
    assert len({(cells[0].dataset, cells[0].backend) for cells in drawn.values()}) > 1


def test_a_number_that_was_changed_is_found(claimed: Tree) -> None:
    claimed["cells"][0]["test_rmse"] -= 0.1
    with refused(RecordError, "changed.json", "changed after it was written"):
        mfbench.verify(written(claimed, seal=False))
    cells = mfbench.verify(written(claimed)).cells
    assert [one.verdict for one in cells] == ["not reproduced", *["to the bit"] * 3]
    assert "the table says" in cells[0].says
    better = claimed["cells"][0]["test_rmse"]
    first = mfbench.verify(changed(claimed, test_rmse=better, seal_record=False)).cells[0]
    assert (first.verdict, "changed after it was written" in first.says) == ("not run", True)
    found = mfbench.verify(changed(claimed, test_rmse=better))
    assert not found.verified
    assert [one.verdict for one in found.cells] == ["not reproduced", *["to the bit"] * 3]
    assert found.cells[0].here > better


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"backend": "als"}, "of another cell"),
        ({"stage": "trial"}, "of another cell"),
        ({"study": "../../elsewhere"}, "damaged"),
        ({"scores": None}, "damaged"),
        ({"hyper": {"K": "x"}}, ""),
        ({"planned_epochs": -1}, ""),
    ],
)
def test_a_record_that_is_wrong_costs_its_own_cell(claimed: Tree, fields: Tree, says: str) -> None:
    first, *others = mfbench.verify(changed(claimed, **fields)).cells
    assert first.verdict in ("not run", "not reproduced")
    assert says in first.says
    assert [one.verdict for one in others] == ["to the bit"] * 3


def test_code_and_files_of_somebody_else_are_left_alone(
    claimed: Tree, tmp_path: Path, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    monkeypatch.setenv("MARK", str(mark))
    evil = tmp_path / "evil.py"
    evil.write_text(
        "import os, pathlib\npathlib.Path(os.environ['MARK']).touch()\nfrom mfbench.backends.loop import Loop as X\n"
    )
    name = f"{evil}:X"
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("user,item,rating\n1,2,3\n")
    spec = claimed["cells"][1]["records"][0]["spec"]
    spec["data"] = {"file": str(ratings)}
    claimed["cells"][1]["records"][0]["seal"] = seal_of(claimed["cells"][1]["records"][0])
    claimed["cells"][0]["backend"] = name
    path = changed(claimed, backend=name)
    status, out, err = command("verify", str(path), "--json")
    first, second, *others = json.loads(out)["cells"]
    assert status == 1
    assert (first["verdict"], second["verdict"]) == ("not run", "not run")
    assert "--trust" in first["says"]
    assert "--trust" in second["says"]
    assert [one["verdict"] for one in others] == ["to the bit"] * 2
    assert "--trust" in err
    assert not mark.exists()
    mfbench.verify(path, trust=True)
    assert mark.exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"claim": 2}', "[" * 100_000, "\x00"])
def test_what_is_no_claim_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with refused(InputError, "other.json", "no claim"):
        mfbench.verify(path)


def test_a_suite_that_is_not_finished_has_no_claim(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    without_export(monkeypatch)
    with refused(InputError, "pair.wide", "`mfbench suite`"):
        mfbench.claim(two())
    mfbench.suite(two(), timeout=0)
    with refused(InputError, "pair.wide", "`mfbench suite`"):
        mfbench.claim(two())
    one = {"name": "one", **two()["datasets"]["wide"], **{key: two()[key] for key in ("split", "model", "sweep")}}
    with refused(InputError, "one", "`mfbench sweep`"):
        mfbench.claim(one)


def test_a_sweep_is_claimed_too_and_more_openings_are_said(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    from sweeping import swept

    without_export(monkeypatch)
    suite = two()
    mfbench.suite(suite)
    wide = {**{key: suite[key] for key in ("split", "model", "sweep")}, **suite["datasets"]["wide"]}
    swept({**wide, "name": "again"})
    found = mfbench.claim({**wide, "name": "again"}, file="again.json")
    assert [(one.dataset, one.backend) for one in found.claim.cells] == [("again", "loop"), ("again", "mean")]
    ((digest, lines),) = found.claim.openings.items()
    assert digest
    assert {line["study"].rpartition("-")[0] for line in lines} == {"again", "pair.wide"}
    assert any("opened by more than one study" in sentence for sentence in found.warnings)
    assert mfbench.verify("again.json").verified


def test_own_code_is_said_and_that_of_a_peer_is_not(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    without_export(monkeypatch)
    own = write_backend("")
    suite = two()
    suite["sweep"]["backends"] = [own]
    mfbench.suite(suite)
    assert any(sentence.startswith(f"{own}: code of your own") for sentence in mfbench.claim(suite).warnings)
    monkeypatch.setitem(registry.PEERS, own, own)
    assert not any(own in sentence for sentence in mfbench.claim(suite).warnings)
