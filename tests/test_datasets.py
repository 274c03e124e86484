"""The catalogue, the MovieLens layouts, and preparing once."""

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from processes import ended, started
from refusals import refused

from mfbench.core.errors import DataError
from mfbench.data import prepared
from mfbench.data.catalogue import catalogue, dataset_named, entry, load
from mfbench.data.dataset import Dataset, make_dataset
from mfbench.data.download import Archive
from mfbench.data.movielens import FOLDS, read_movielens
from mfbench.data.prepared import card, summary
from mfbench.spec import Data, Planted


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MFBENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def same(a: Dataset, b: Dataset) -> bool:
    parts = ["titles", "timestamps", "user_ids", "item_ids"]
    equal = [np.array_equal(getattr(a, part), getattr(b, part)) for part in parts]
    triple = ["users", "items", "values"]
    equal += [np.array_equal(getattr(a.ratings, part), getattr(b.ratings, part)) for part in triple]
    equal += [a.folds.keys() == b.folds.keys(), *(np.array_equal(a.folds[f], b.folds[f]) for f in a.folds)]
    equal += [(a.truth is None) == (b.truth is None)]
    if a.truth is not None and b.truth is not None:
        equal += [np.array_equal(a.truth.mean, b.truth.mean), np.array_equal(a.truth.median, b.truth.median)]
    return all(equal) and a.name == b.name and a.digest == b.digest


# --- catalogue -------------------------------------------------------------------------------------------------------


def test_the_catalogue() -> None:
    names = [e.name for e in catalogue()]
    assert len(set(names)) == len(names)
    assert {"notebook-6x4", "planted-100k", "ml-latest-small", "ml-32m"} <= set(names)
    for e in catalogue():
        assert entry(e.name) is e
        json.dumps(e.summary())
        if e.archive is not None:
            assert e.archive.md5 is None or len(e.archive.md5) == 32
            assert e.archive.sha256 is None or len(e.archive.sha256) == 64
            assert e.archive.address.endswith("/")
        if e.planted is not None:
            assert (e.planted.users, e.planted.items, e.planted.ratings) == (e.users, e.items, e.ratings)


def test_an_unknown_name_gets_the_near_and_the_known_ones() -> None:
    with refused(DataError, "ml-latest-small"):
        load(Data(dataset="movielens-1m"))
    with refused(DataError, "did you mean ml-100k"):
        load(Data(dataset="ml-100K"))


def test_the_notebook() -> None:
    d = load(Data(dataset="notebook-6x4"))
    matrix = np.zeros((6, 4))
    matrix[d.ratings.users, d.ratings.items] = d.ratings.values
    assert matrix.tolist() == [[5, 3, 0, 1], [4, 0, 0, 1], [1, 1, 0, 5], [1, 0, 0, 4], [0, 1, 5, 4], [2, 1, 3, 0]]
    assert d.user_ids.tolist() == ["U1", "U2", "U3", "U4", "U5", "U6"]
    assert d.item_ids.tolist() == ["D1", "D2", "D3", "D4"]
    assert len(d.ratings) == entry("notebook-6x4").ratings


# --- MovieLens -------------------------------------------------------------------------------------------------------


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


CSV = {
    "x/README.txt": b"hello",
    "x/ratings.csv": b"userId,movieId,rating,timestamp\r\n2,30,0.5,100\r\n1,30,4.5,99\r\n1,7,5.0,98\r\n",
    "x/movies.csv": 'movieId,title,genres\r\n7,"Am\u00e9lie, a ""film"" (2001)",Drama\r\n8,Unrated (1990),War\r\n'
    "30,NULL,(no genres listed)\r\n".encode(),
}
CSV_ARCHIVE = Archive("x.zip", 0, "", None, "csv")


def test_csv_layout(tmp_path: Path) -> None:
    d = read_movielens(zipped(tmp_path / "x.zip", CSV), "x", CSV_ARCHIVE)
    assert d.user_ids.tolist() == [1, 2]
    assert d.item_ids.tolist() == [7, 30]
    assert d.titles is not None
    assert d.titles.tolist() == ['Am\u00e9lie, a "film" (2001)', "NULL"]
    assert d.ratings.users.tolist() == [1, 0, 0]
    assert d.ratings.values.tolist() == [0.5, 4.5, 5.0]
    assert d.ratings.values.dtype == np.float32
    assert d.timestamps is not None
    assert d.timestamps.tolist() == [100, 99, 98]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_dat_layout(tmp_path: Path, encoding: str) -> None:
    movies = "122::Caf\u00e9: the :: film (1996)::Drama|War\n185::Net, The (1995)::Action\n9::No::X\n"
    members = {
        "ml-10M100K/ratings.dat": b"1::122::5::838985046\n1::185::4.5::838983525\n2::122::3::868245777\n",
        "ml-10M100K/movies.dat": movies.encode(encoding),
    }
    d = read_movielens(zipped(tmp_path / "x.zip", members), "x", Archive("x.zip", 0, "", None, "dat", encoding))
    assert d.titles is not None
    assert d.titles.tolist() == ["Caf\u00e9: the :: film (1996)", "Net, The (1995)"]
    assert d.ratings.values.tolist() == [5, 4.5, 3]
    assert d.timestamps is not None
    assert d.timestamps.tolist() == [838985046, 838983525, 868245777]


def test_100k_layout_with_its_folds(tmp_path: Path) -> None:
    lines = [b"%d\t%d\t%d\t%d\n" % (u, i, 1 + (u + i) % 5, 1000 + u) for u in range(1, 6) for i in (3, 1, 2)]
    items = "1|Caf\u00e9 (1995)|01-Jan-1995||http://x|0|1\n2|B (1996)|||x|0\n3|unknown||||1\n4|Unrated||||0\n"
    members = {"ml-100k/u.data": b"".join(lines), "ml-100k/u.item": items.encode("latin-1")}
    for k, fold in enumerate(FOLDS):
        members[f"ml-100k/{fold}.test"] = b"".join(lines[k : k + 3])
    layout = Archive("x.zip", 0, "", None, "100k", "latin-1")
    d = read_movielens(zipped(tmp_path / "x.zip", members), "x", layout)
    assert d.titles is not None
    assert d.titles.tolist() == ["Caf\u00e9 (1995)", "B (1996)", "unknown"]
    assert list(d.folds) == FOLDS
    for k, fold in enumerate(FOLDS):
        assert d.folds[fold].dtype == bool
        assert np.flatnonzero(d.folds[fold]).tolist() == [k, k + 1, k + 2]
    members["ml-100k/u1.test"] = b"1\t99\t5\t1000\n"
    with pytest.raises(DataError, match=r"u1\.test"):
        read_movielens(zipped(tmp_path / "y.zip", members), "x", layout)


def test_an_archive_that_is_not_what_it_should_be(tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, bytes], str]] = [
        ({"x/movies.csv": CSV["x/movies.csv"]}, "ratings.csv"),
        (CSV | {"x/ratings.csv": b"userId\r\n1\r\n"}, "ratings.csv"),
        (CSV | {"x/movies.csv": b"id\r\nToy Story\r\n"}, "movies.csv, row 1"),
        (CSV | {"x/ratings.csv": CSV["x/ratings.csv"] + b"1,7,3.0,5\r\n"}, "ratings.csv, line 5"),
    ]
    path = tmp_path / "x.zip"
    for members, says in wrong:
        with refused(DataError, says):
            read_movielens(zipped(path, members), "x", CSV_ARCHIVE)
    whole = zipped(path, CSV).read_bytes()
    at = whole.index(b"x/ratings.csv") + 20
    for content in (whole[:at] + b"\0\0\0\0" + whole[at + 4 :], b"not a zip"):
        path.write_bytes(content)
        with refused(DataError, "x.zip"):
            read_movielens(path, "x", CSV_ARCHIVE)


def test_no_member_is_written_anywhere(tmp_path: Path) -> None:
    members = {name.replace("x/", "../../"): content for name, content in CSV.items()}
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    assert len(read_movielens(zipped(folder / "x.zip", members), "x", CSV_ARCHIVE).ratings) == 3
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "b", "x.zip"]


# --- preparing -------------------------------------------------------------------------------------------------------


def test_prepared_once_and_read_back_the_same(home: Path) -> None:
    first = dataset_named("planted-10k")
    folder = home / "planted-10k"
    assert sorted(p.name for p in folder.iterdir()) == ["arrays.npz", "card.json"]
    stamp = (folder / "arrays.npz").stat().st_mtime_ns
    again = load(Data(dataset="planted-10k"))
    assert same(first, again)
    assert (folder / "arrays.npz").stat().st_mtime_ns == stamp
    assert [p.name for p in home.iterdir() if not p.name.endswith(".lock")] == ["planted-10k"]
    known = card("planted-10k")
    assert known is not None
    assert summary(again).items() <= known.items()
    assert (known["ratings"], known["users"], known["items"]) == (10_000, 200, 300)


def test_all_parts_come_back(tmp_path: Path) -> None:
    d = read_movielens(zipped(tmp_path / "x.zip", CSV), "x", CSV_ARCHIVE)
    d = replace(d, folds={"u1": np.array([True, False, False])})
    assert same(prepared.read_or_make("x", {"a": 1}, lambda: d), d)
    assert same(prepared.read_or_make("x", {"a": 1}, lambda: pytest.fail("it is there")), d)


def test_planted_by_parameters_has_them_in_its_name(home: Path) -> None:
    d = load(Data(planted=Planted(users=30, items=20, ratings=200, seed=5)))
    assert d.name == "planted-30x20x200-s5"
    assert (home / d.name / "card.json").exists()
    assert d.truth is not None


@pytest.mark.parametrize("damage", ["flip", "cut", "no arrays", "no card", "bad card", "other source", "other arrays"])
def test_what_is_damaged_is_made_again(home: Path, damage: str) -> None:
    first = dataset_named("planted-10k")
    arrays, text = home / "planted-10k" / "arrays.npz", home / "planted-10k" / "card.json"
    content = arrays.read_bytes()
    if damage == "flip":
        arrays.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    elif damage == "cut":
        arrays.write_bytes(content[:-1000])
    elif damage == "no arrays":
        arrays.unlink()
    elif damage == "no card":
        text.unlink()
    elif damage == "bad card":
        text.write_text("[")
    elif damage == "other source":
        text.write_text(text.read_text().replace('"seed": 0', '"seed": 1'))
    else:
        load(Data(planted=Planted(users=200, items=300, ratings=10_000, seed=1)))
        arrays.write_bytes((home / "planted-200x300x10000-s1" / "arrays.npz").read_bytes())
    assert same(dataset_named("planted-10k"), first)
    assert arrays.read_bytes() == content


def test_a_folder_with_the_users_own_files_is_left_alone(home: Path) -> None:
    (home / "planted-10k").mkdir(parents=True)
    (home / "planted-10k" / "mine.txt").write_text("keep me")
    with pytest.raises(DataError, match=r"mine\.txt"):
        dataset_named("planted-10k")
    assert (home / "planted-10k" / "mine.txt").read_text() == "keep me"


def test_what_fails_leaves_nothing(home: Path) -> None:
    def fail() -> Dataset:
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        prepared.read_or_make("x", {}, fail)
    assert card("x") is None
    assert not (home / "x").exists()


def test_processes_that_prepare_together_agree(home: Path) -> None:
    code = "from mfbench.data.catalogue import dataset_named; print(dataset_named('planted-10k').digest)"
    with started("-c", code) as one, started("-c", code) as other:
        said = [ended(process) for process in (one, other)]
    assert said[0] == said[1]
    assert said[0][0] == 0, said[0][2]
    assert (home / "planted-10k" / "card.json").exists()


def test_the_order_of_rows_has_no_part_in_the_digest() -> None:
    rng = np.random.default_rng(0)
    cells = rng.permutation(30)[:20]
    values = rng.random(20)

    def digest(order: np.ndarray) -> str:
        k = cells[order]
        return make_dataset("x", k // 6, k % 6, values[order], where=str).digest

    assert len({digest(rng.permutation(20)) for _ in range(5)}) == 1


@pytest.mark.skipif("MFBENCH_MIRROR" not in os.environ, reason="MFBENCH_MIRROR is not set: no real ratings")
def test_real_movielens() -> None:
    d = dataset_named("ml-latest-small")
    known = entry("ml-latest-small")
    assert (len(d.ratings), d.ratings.n_users, d.ratings.n_items) == (known.ratings, known.users, known.items)
    assert d.digest == "48b88996b5537a3f5709d9eb52b46d7b8cdbe40516a95860a744011bee089d81"
    assert d.titles is not None
    assert d.titles[0] == "Toy Story (1995)"
    assert "American President, The (1995)" in d.titles
    assert len(set(d.titles)) == len(d.titles) - 5
    assert sorted(set(d.ratings.values.tolist())) == [k / 2 for k in range(1, 11)]
    assert same(dataset_named("ml-latest-small"), d)
