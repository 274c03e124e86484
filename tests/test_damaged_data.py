"""Damaged splits and prepared data: compiled code indexes with these arrays, so none is used that is not what was written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import refused

from mfbench.core.errors import DataError
from mfbench.core.paths import data_home
from mfbench.data.catalogue import load
from mfbench.data.dataset import Dataset
from mfbench.data.sealed import open_test
from mfbench.data.splits import Parts, parts_in, parts_of
from mfbench.spec import load_spec

Damage = Callable[[Path], object]


def resaved(change: Callable[[dict[str, Any]], Any]) -> Damage:
    def damage(path: Path) -> None:
        with np.load(path) as file:
            arrays = dict(file)
        change(arrays)
        np.savez(path, allow_pickle=False, **arrays)

    return damage


def first(arrays: dict[str, Any]) -> str:
    return next(iter(arrays))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Damage] = {
    "a bit": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-700]),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "missing": Path.unlink,
    "no zip": lambda path: np.save(path.open("wb"), np.arange(3)),
    "an array is missing": resaved(lambda arrays: arrays.pop(first(arrays))),
    "another dtype": resaved(lambda arrays: arrays.update({first(arrays): np.arange(len(arrays[first(arrays)])) + 0.5})),
    "another length": resaved(lambda arrays: arrays.update({first(arrays): arrays[first(arrays)][:-5]})),
    "another rank": resaved(lambda arrays: arrays.update({first(arrays): arrays[first(arrays)].reshape(1, -1)})),
    "a single number": resaved(lambda arrays: arrays.update({first(arrays): np.array(7)})),
    "two values swapped": resaved(lambda arrays: arrays[first(arrays)].__setitem__([0, -1], arrays[first(arrays)][[-1, 0]])),
}
INDICES: dict[str, Damage] = {
    "below 0": resaved(lambda arrays: arrays["items"].__setitem__(3, -(2**30))),
    "beyond the end": resaved(lambda arrays: arrays["users"].__setitem__(3, 2**30)),
    "users and items swapped": resaved(lambda arrays: arrays.update(users=arrays["items"], items=arrays["users"])),
}
FILES = ["train.npz", "valid.npz", "sealed/test.npz", "ids.npz"]


@pytest.fixture
def parts(workplace: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setenv("MFBENCH_DATA", str(workplace / "data"))
    return parts_of(load_spec(small))


def contents(parts: Parts) -> dict[str, bytes]:
    return {name: (parts.folder / name).read_bytes() for name in [*FILES, "card.json"]}


def read(parts: Parts, file: str) -> Any:
    match file:
        case "train.npz":
            return parts.train
        case "valid.npz":
            return parts.valid
        case "ids.npz":
            return parts.ids()
        case _:
            return open_test(parts, "small-1", "to see")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_of_a_split_is_never_used_and_is_made_again(
    parts: Parts, small: dict[str, Any], file: str, damage: str
) -> None:
    before = contents(parts)
    DAMAGE[damage](parts.folder / file)
    with refused(DataError, str(parts.folder / file), "delete"):
        read(parts_in(parts.folder), file)
    if (file, damage) != ("sealed/test.npz", "missing"):
        assert parts_of(load_spec(small)) == parts
        assert contents(parts) == before


@pytest.mark.parametrize("damage", INDICES)
def test_indices_out_of_range_never_reach_compiled_code(parts: Parts, damage: str) -> None:
    INDICES[damage](parts.folder / "train.npz")
    with refused(DataError, "train.npz", "delete"):
        _ = parts.train


@pytest.mark.parametrize("field", ["n_users", "n_items", "n", "split_digest", "files", "highest", "oracle", "n_unknown"])
@pytest.mark.parametrize("value", [3, None, [1], {}, "x"])
def test_a_card_that_was_changed_is_not_believed(parts: Parts, small: dict[str, Any], field: str, value: Any) -> None:
    before, card = contents(parts), parts.folder / "card.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), field: value}))
    with refused(DataError, "card.json", "delete"):
        parts_in(parts.folder)
    assert parts_of(load_spec(small)) == parts
    assert contents(parts) == before


def test_the_folder_of_another_split_is_not_taken_for_it(parts: Parts, small: dict[str, Any]) -> None:
    before = contents(parts)
    other = parts_of(load_spec({**small, "split": {**small["split"], "seed": 8}}))
    shutil.rmtree(parts.folder)
    shutil.copytree(other.folder, parts.folder)
    with refused(DataError, "card.json", "delete"):
        parts_in(parts.folder)
    assert parts_of(load_spec(small)) == parts
    assert contents(parts) == before


def test_a_split_of_an_earlier_version_is_written_again(parts: Parts, small: dict[str, Any]) -> None:
    before, card = contents(parts), parts.folder / "card.json"
    tree = json.loads(card.read_text())
    card.write_text(json.dumps({name: value for name, value in tree.items() if name not in ("files", "seal")}))
    assert parts_of(load_spec(small)) == parts
    assert contents(parts) == before


# --- prepared data ---------------------------------------------------------------------------------------------------


def same(one: Dataset, other: Dataset) -> bool:
    assert one.truth is not None
    assert other.truth is not None
    return one.digest == other.digest and bool(np.array_equal(one.truth.mean, other.truth.mean))


@pytest.mark.parametrize("digest", [True, False], ids=["now", "a card of before"])
@pytest.mark.parametrize("damage", DAMAGE | INDICES)
def test_damaged_prepared_data_is_made_again(parts: Parts, small: dict[str, Any], damage: str, digest: bool) -> None:
    data = load_spec(small).data
    (folder,) = [path for path in data_home().glob("planted-*") if path.is_dir()]
    before, whole = (folder / "arrays.npz").read_bytes(), load(data)
    if not digest:
        tree = json.loads((folder / "card.json").read_text())
        del tree["arrays_digest"]
        (folder / "card.json").write_text(json.dumps(tree))
    (DAMAGE | INDICES)[damage](folder / "arrays.npz")
    assert same(load(data), whole)
    assert (folder / "arrays.npz").read_bytes() == before
    assert parts_of(load_spec(small)) == parts


def test_other_arrays_of_prepared_data_are_covered_too(parts: Parts, small: dict[str, Any]) -> None:
    data, (folder,) = load_spec(small).data, [path for path in data_home().glob("planted-*") if path.is_dir()]
    whole = load(data)
    resaved(lambda arrays: arrays.update(truth_mean=arrays["truth_mean"][::-1]))(folder / "arrays.npz")
    assert same(load(data), whole)
    assert parts.oracle == parts_of(load_spec(small)).oracle
