"""Records from somebody else: opening one runs no code, and reads and writes nothing outside, unless one says --trust."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from record_factory import rewritten
from refusals import refused
from trainings import made
from user_files import write_backend, write_ratings

import mfbench
from mfbench.backends.foreign import is_installed, named_code
from mfbench.core.errors import InputError, MfbenchError
from mfbench.runs.record_files import read_record

Tree = dict[str, Any]
EVIL = """\
import os, pathlib
from mfbench.backends.loop import Loop
pathlib.Path(os.environ["MARK"]).touch()
X = Loop
"""


@pytest.fixture
def project(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project beside a folder `gift`, whose evil.py leaves a mark where it is imported."""
    here, gift = workplace / "project", workplace / "gift"
    here.mkdir()
    gift.mkdir()
    (gift / "evil.py").write_text(EVIL)
    monkeypatch.chdir(here)
    monkeypatch.setenv("MARK", str(workplace / "ran"))
    return workplace


def plain(small: Tree, **more: Any) -> Tree:
    model = {**small["model"], "backend": "loop", "K": 3, "alpha": 0.01, "beta": 0.05}
    return {**{key: value for key, value in small.items() if key != "sweep"}, "model": model, **more}


def given(place: Path, small: Tree, sealed: bool = True, **changes: Any) -> Path:
    """A record in the gift, of a run that this project never made, with these fields; a tree goes into the field."""
    record = made(plain(small))
    path = Path(shutil.move(record.path, place / "gift" / "record.json"))
    shutil.rmtree("runs")
    whole = json.loads(path.read_text())
    for field, value in changes.items():
        node = whole
        *above, last = field.split("__")
        for step in above:
            node = node[step]
        node[last] = value
    path.write_text(json.dumps(whole))
    if sealed:
        try:
            record = read_record(path)
        except MfbenchError:
            return path
        record.put_seal()
        path.write_bytes(record.as_json())
    return path


def snapshot(place: Path) -> dict[str, bytes]:
    """All files outside the project's runs, data and locks."""
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file() and not path.is_relative_to(place / "project" / "runs") and "cache" not in str(path)
    }


CODE: dict[str, Tree] = {
    "as its backend": {"backend": "../gift/evil.py:X"},
    "as its model's": {"spec__model__backend": "../gift/evil.py:X"},
    "in options": {"spec__model__options": {"../gift/evil.py:X": {}}},
    "by a link": {"backend": "inside/evil.py:X"},
    "in the home": {"spec__model__options": {"~/evil.py:X": {}}},
    "as a module": {"spec__model__options": {"evil:X": {}}},
    "in a sweep": {"spec__sweep": {"backends": ["../gift/evil.py:X"]}},
    "as a space": {"spec__sweep": {"backends": ["loop"], "spaces": {"../gift/evil.py:X": {}}}},
    "in a race": {"spec__race": {"backends": ["../gift/evil.py:X"]}},
    "from the standard library": {"backend": "antigravity:X"},
}


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("names", CODE)
def test_its_code_is_named_and_not_run(
    project: Path, small: Tree, names: str, sealed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = given(project, small, sealed, **CODE[names])
    Path("inside").symlink_to(project / "gift")
    monkeypatch.setenv("HOME", str(project / "gift"))
    monkeypatch.syspath_prepend(str(project / "gift"))
    for strict in (False, True):
        with refused(InputError, "--trust", next(iter(named_code(list(CODE[names].values()))))):
            mfbench.reproduce(path, strict=strict)
    assert not (project / "ran").exists()


def test_with_trust_it_is_run(project: Path, small: Tree, command: Callable[..., tuple[int, str, str]]) -> None:
    path = str(given(project, small, **CODE["as its backend"]))
    assert command("reproduce", path)[0] == 2
    assert not (project / "ran").exists()
    status, out, err = command("reproduce", path, "--trust")
    assert (project / "ran").exists(), out + err
    assert status == 0
    assert "its file has changed since the run" in out + err


@pytest.mark.usefixtures("workplace")
def test_own_code_needs_no_word_while_the_record_is_ours_and_unchanged(small: Tree) -> None:
    record = made(plain(small), write_backend(""))
    assert mfbench.reproduce(record.run_key).reproduced
    elsewhere = Path(shutil.copy(record.path, "copied.json"))
    assert mfbench.reproduce(elsewhere).reproduced  # the same is under runs/
    rewritten(elsewhere, sealed=False, epochs=2)
    with refused(InputError, "mine.py:Mine", "--trust"):
        mfbench.reproduce(elsewhere)
    rewritten(record.path, epochs=2)
    with refused(InputError, "mine.py:Mine", "--trust"):
        mfbench.reproduce(record.run_key)


def test_what_is_installed_is_found_out_without_an_import() -> None:
    assert is_installed("numpy.linalg:X")
    assert is_installed("mfbench.backends.loop:Loop")
    assert is_installed("no_such_package_at_all:X")
    assert not is_installed("antigravity:X")
    assert not is_installed("os:X")
    assert not is_installed("numpy/linalg.py:X")


SHAPES: dict[str, Tree] = {
    "study up": {"study": "../../elsewhere"},
    "study absolute": {"study": "/tmp/elsewhere"},
    "study hidden": {"study": ".diffs"},
    "study with a separator": {"study": "a/b"},
    "spec name absolute": {"spec__name": "/tmp/elsewhere"},
    "spec name up": {"spec__name": "../elsewhere"},
    "spec name with a line": {"spec__name": "a\nb"},
    "backend up": {"backend": ".."},
    "backend here": {"backend": "."},
    "backend with NUL": {"backend": "a\0b"},
    "backend with an escape": {"backend": "\x1b[2Jloop"},
    "backend too long": {"backend": "x" * 3000},
    "no backend": {"backend": ""},
    "number below 0": {"number": -1},
    "number without end": {"number": 10**300},
    "repeat below 0": {"repeat": -3},
    "diff up": {"environment__git_diff": "../../gift/secret"},
    "diff absolute": {"environment__git_diff": "/etc/passwd"},
    "stage": {"stage": "../final"},
    "data set absolute": {"spec__data": {"dataset": "/tmp/elsewhere"}},
    "data set up": {"spec__data": {"dataset": "../elsewhere"}},
    "ratings absolute": {"spec__data": {"file": "/etc/passwd"}},
    "ratings up": {"spec__data": {"file": "../gift/secret.csv"}},
    "ratings home": {"spec__data": {"file": "~/secret.csv"}},
    "ratings by a link": {"spec__data": {"file": "inside/secret.csv"}},
    "a device that never ends": {"spec__data": {"file": "/dev/zero"}},
    "factors digest up": {"factors_digest": ["../x"]},
    "split digest a list": {"data__split_digest": ["a"]},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_name_is_a_name_and_a_file_stays_inside(
    project: Path, small: Tree, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = given(project, small, **SHAPES[shape])
    secret = project / "gift" / "secret.csv"
    secret.write_text("user,item,rating\n1,1,5\n2,2,4\n3,3,3\n")
    secret.with_suffix(".diff").write_text("secret")
    Path("inside").symlink_to(project / "gift")
    monkeypatch.setenv("HOME", str(project / "gift"))
    before = snapshot(project)
    for ask in (mfbench.reproduce, mfbench.recommender):
        with pytest.raises(MfbenchError) as caught:
            ask(str(path))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
    assert snapshot(project) == before
    assert not Path("/tmp/elsewhere").exists()


def test_own_ratings_outside_are_read_for_a_record_of_this_project(project: Path, small: Tree) -> None:
    rows = [(user, item, (3 * user + item) % 5 + 1) for user in range(20) for item in range(20)]
    write_ratings(rows, str(project / "ratings.csv"))
    record = made(plain(small, data={"file": "../ratings.csv"}))
    assert mfbench.reproduce(record.run_key).reproduced
    assert mfbench.recommender(record.run_key).users()
    gift = project / "gift" / "record.json"
    shutil.move(record.path, gift)
    shutil.copy(record.path.with_suffix(".npz"), gift.with_suffix(".npz"))
    with refused(InputError, "../ratings.csv", "--trust"):
        mfbench.reproduce(gift)
    with refused(InputError, "../ratings.csv", "--trust"):
        mfbench.recommender(gift)
    assert mfbench.reproduce(gift, trust=True).reproduced
    assert mfbench.reproduce(gift, data="../ratings.csv").reproduced
