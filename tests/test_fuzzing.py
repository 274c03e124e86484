"""The short forms of the fuzzers in benchmarks/: each input is accepted, or refused in one sentence; the long ones by hand."""

from __future__ import annotations

import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import fuzz_specs
import fuzz_state
import fuzz_tables
import pytest
from fuzzing import Attempt, tried

SEED = 1_000_000  # not those of the long forms


@pytest.fixture(autouse=True)
def _in_a_folder(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(workplace))


def kinds(attempt: Attempt, count: int, folder: Path) -> Counter[str]:
    """How many inputs were clean and how many accepted; none may be wrong."""
    verdicts = {seed: tried(attempt, seed, folder / str(seed)) for seed in range(SEED, SEED + count)}
    wrong = {seed: (verdict.says, verdict.input) for seed, verdict in verdicts.items() if verdict.kind == "wrong"}
    assert not wrong
    return Counter(verdict.kind for verdict in verdicts.values())


def test_specs(tmp_path: Path) -> None:  # read and checked, not trained
    found = kinds(partial(fuzz_specs.attempt, work=0), 200, tmp_path)
    assert min(found["clean"], found["accepted"]) > 20


def test_tables(tmp_path: Path) -> None:
    found = kinds(fuzz_tables.attempt, 200, tmp_path)
    assert min(found["clean"], found["accepted"]) > 20


def test_damaged_folders(tmp_path: Path, fresh_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MFBENCH_DATA")
    among = ["recommend", "similar", "reproduce the run"]
    found = kinds(partial(fuzz_state.attempt, among=among, n=1, store=fresh_store), 20, tmp_path)
    assert found["clean"]
    assert found["accepted"]
