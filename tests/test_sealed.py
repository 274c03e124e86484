"""The sealed test part: no rating of it can reach the search, and who has opened it before is told."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweeping import Listener, swept
from user_files import write_ratings

from mfbench.commands.sweep import SweepResult
from mfbench.core.errors import InputError
from mfbench.data.sealed import open_test, openers
from mfbench.data.splits import parts_of
from mfbench.matrix.ratings import Ratings
from mfbench.runs.record_files import study_records
from mfbench.search.outcome import Swept
from mfbench.search.workers import Task, Workers
from mfbench.spec import load_spec, study_key

Cells = set[tuple[int, int]]

LOOKS_AROUND = """
import json, os, pathlib
from dataclasses import dataclass
from mfbench.backends.loop import Loop

@dataclass(frozen=True)
class Mine(Loop):
    '''Writes down all that it is given, and each file that its process has open.'''
    def epochs(self, train, start, hyper, schedule, rng):
        fds = pathlib.Path('/proc/self/fd')
        opened = [os.readlink(fd) for fd in fds.iterdir() if fd.exists()] if fds.exists() else []
        seen = {'users': train.users.tolist(), 'items': train.items.tolist(), 'files': opened}
        pathlib.Path(f'seen-{os.urandom(4).hex()}.json').write_text(json.dumps(seen))
        return super().epochs(train, start, hyper, schedule, rng)
"""


def cells(ratings: Ratings) -> Cells:
    return set(zip(ratings.users.tolist(), ratings.items.tolist(), strict=True))


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every task that is given to a worker, as the line of JSON that the worker reads."""
    given: list[str] = []
    run_tasks = Workers.run_tasks

    def listening(self: Workers, tasks: Sequence[Task], *rest: Any) -> None:
        given.extend(task.model_dump_json() for task in tasks)
        run_tasks(self, tasks, *rest)

    monkeypatch.setattr(Workers, "run_tasks", listening)
    return given


# --- nothing of it reaches the search --------------------------------------------------------------------------------


def test_the_search_is_the_same_to_the_bit_whatever_the_test_ratings_are(
    workplace: Path, small: dict[str, Any], tasks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two data sets that differ in their test ratings alone: whatever a worker is given, reads and finds is the same."""
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.choice(30 * 40, 500, replace=False), 40)
    values = rng.integers(1, 6, 500)
    spec = load_spec(small | {"data": {"file": "ratings.csv"}})

    def sweep_of(name: str, values: Any) -> tuple[Swept, dict[str, bytes], list[str]]:
        folder = workplace / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("MFBENCH_DATA", str(folder / "data"))
        write_ratings(zip(users, items, values, strict=True))
        tasks.clear()
        result, parts = swept(spec), parts_of(spec)
        files = {path.name: path.read_bytes() for path in parts.folder.glob("*.npz")}
        unnamed = [task.replace(result.study, "KEY").replace(str(parts.folder), "PARTS") for task in tasks]
        # A proposal's digest is made of the study key, and that of all ratings, as the key is.
        without = [re.sub(r'("proposal":)"[0-9a-f]{64}"', r"\1a digest", task) for task in unnamed]
        return result, files, [re.sub(r'(train_seconds\\?":)[^,}]+', r"\1a clock", task) for task in without]

    one, files, given = sweep_of("one", values)
    parts = parts_of(spec)
    test, ids = open_test(parts, one.study, "to change it"), parts.ids()
    tested = {(ids["user_ids"][u], ids["item_ids"][i]) for u, i in cells(test)}
    in_test = np.array([(u, i) in tested for u, i in zip(users, items, strict=True)])
    assert in_test.sum() == len(test) == 75
    other, other_files, other_given = sweep_of("other", np.where(in_test, 6 - values, values))

    assert files.keys() == {"train.npz", "valid.npz", "ids.npz"}
    assert files == other_files
    assert len(given) == 6 + 1
    assert given == other_given
    assert [trial.result for trial in one.trials["loop"]] == [trial.result for trial in other.trials["loop"]]
    (final,), (other_final,) = one.finals, other.finals
    assert final.factors_digest == other_final.factors_digest
    assert final.test_rmse != other_final.test_rmse


def test_all_trials_finish_while_the_sealed_part_is_away_and_only_the_final_run_misses_it(
    workplace: Path, small: dict[str, Any]
) -> None:
    Path("mine.py").write_text(LOOKS_AROUND)
    spec = load_spec(small, ["sweep.backends=['mine.py:Mine']", "split.seed=9", "data.planted.seed=5"])
    parts = parts_of(spec)
    test = cells(open_test(parts, "small-1", "to know its cells"))
    sealed, away = parts.folder / "sealed", workplace / "away"
    sealed.rename(away)
    try:
        with pytest.raises(InputError, match=r"sealed/test\.npz"):
            swept(spec)
    finally:
        away.rename(sealed)
    trials = [record for path in Path("runs").glob("small-*/") for record in study_records(path.name)]
    assert [record.stage for record in trials] == ["trial"] * 6
    assert {record.outcome for record in trials} <= {"completed", "pruned"}
    for path in Path().glob("seen-*.json"):
        seen = json.loads(path.read_text())
        assert not test & set(zip(seen["users"], seen["items"], strict=True))
        assert not any("sealed" in name for name in seen["files"])
    assert len(list(Path().glob("seen-*.json"))) == 6 + 1  # the final run trained too, before it missed the test part

    result = swept(spec)
    assert [trial.started for trial in result.trials["mine.py:Mine"]] == [record.started for record in trials]
    assert result.finals[0].test_rmse is not None


# --- who has opened it -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("served")
def test_a_further_study_is_told_before_its_finals_who_has_opened_the_same_test_part(small: dict[str, Any]) -> None:
    small["sweep"]["trials"] = 2
    digest = str(parts_of(load_spec(small)).test_digest)

    def told(*changes: str) -> tuple[list[str], int]:
        result = swept(small, *changes, watcher=(listener := Listener()))
        return [one for one in listener.heard if " ratings by " not in one], len(result.audit.openings)

    key = study_key(load_spec(small))
    assert told() == (["trial", "trial", "final"], 0)

    opened = f"test part {digest[:8]} has been opened by 1 other study ({key})"
    by_one = f"{opened}: repeated use of a test part makes its scores optimistic"
    another = ["name=another", "split.valid=0.2"]  # another name and other valid cells, but these test cells
    assert told(*another) == (["trial", "trial", by_one, "final"], 1)
    assert told(*another) == (["trial", "trial", "final"], 1)  # going on is no other opening
    assert told() == (["trial", "trial", "final"], 1)
    assert told("name=elsewhere", "split.seed=8") == (["trial", "trial", "final"], 0)


@pytest.mark.usefixtures("served")
def test_the_number_of_openings_is_the_same_after_an_interruption_in_the_finals(small: dict[str, Any]) -> None:
    small["sweep"] |= {"trials": 2, "backends": ["loop", "mean"]}
    swept(small, "name=another")
    whole = SweepResult(swept(small), {}).summary()
    assert whole["test_openings"] == 1
    next(Path("runs", whole["study"], "loop").glob("final-*.json")).unlink()
    again = SweepResult(swept(small), {}).summary()
    assert (again["test_openings"], again["audit"]) == (whole["test_openings"], whole["audit"])


@pytest.mark.usefixtures("workplace")
def test_a_test_part_is_known_by_its_own_ratings_whatever_the_rest_is_cut_into(small: dict[str, Any]) -> None:
    parts = parts_of(load_spec(small))
    assert openers(parts.test_digest) == []
    open_test(parts, "small-1", "to see")
    open_test(parts, "small-1", "to see again")
    assert openers(parts.test_digest) == ["small-1"]
    other_valid = parts_of(load_spec(small, ["split.valid=0.2", "name=other"]))
    assert other_valid.split_digest != parts.split_digest
    assert other_valid.test_digest == parts.test_digest
    assert parts_of(load_spec(small, ["split.seed=8"])).test_digest != parts.test_digest
    assert parts_of(load_spec(small, ["data.planted.seed=2"])).test_digest != parts.test_digest
    without = parts_of(load_spec(small, ["split={kind: tail, valid: 0.1}"]))
    assert without.test_digest is None
    assert openers(without.test_digest) == []
