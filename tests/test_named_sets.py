"""Data sets besides MovieLens: small files in the formats of their publishers, and entries of the user's own catalogue."""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
import io
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from refusals import refused

import mfbench
from mfbench.core.errors import DataError, InputError, SpecError
from mfbench.data.catalogue import catalogue, dataset_named, entry, load
from mfbench.data.dataset import Dataset
from mfbench.data.pins import kept
from mfbench.data.prepared import card
from mfbench.data.sets.entries import entries
from mfbench.data.sets.tables import read_entry
from mfbench.spec import load_spec, study_key

SPEC: dict[str, Any] = {"name": "demo", "data": {"dataset": "mine"}, "split": {"kind": "random", "valid": 0.3}}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MFBENCH_DATA", raising=False)
    monkeypatch.delenv("MFBENCH_MIRROR", raising=False)
    return tmp_path


def zipped(members: dict[str, bytes], path: str = "x.zip") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return Path(path)


def tarred(members: dict[str, bytes], gz: bool = False) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz" if gz else "w") as file:
        for name, content in members.items():
            one = tarfile.TarInfo(name)
            one.size = len(content)
            file.addfile(one, io.BytesIO(content))
    return made.getvalue()


def named(d: Dataset) -> list[tuple[Any, Any, float]]:
    r = d.ratings
    return list(zip(d.user_ids[r.users].tolist(), d.item_ids[r.items].tolist(), r.values.tolist(), strict=True))


# --- the catalogue ---------------------------------------------------------------------------------------------------


def test_each_set_says_what_it_is_and_what_its_licence_allows() -> None:
    for one in catalogue():
        if one.archive is not None:
            assert one.licence is not None
            assert one.licence.endswith(".")
            assert one.archive.url.startswith("http")
    assert entry("amazon-books").archive.file == "Books.csv.gz"
    assert entry("kuairec").summary()["redistributable"]
    assert not entry("netflix").summary()["redistributable"]
    with refused(DataError, "did you mean goodbooks-10k"):
        entry("goodbooks")


# --- formats ---------------------------------------------------------------------------------------------------------


def test_filmtrust() -> None:
    d = read_entry(zipped({"ratings.txt": b"1 1 2\n1 2 4\n2 1 3.5\n1 1 0.5\n"}), "filmtrust", entries()["filmtrust"])
    assert sorted(named(d)) == [(1, 1, 0.5), (1, 2, 4), (2, 1, 3.5)]
    assert d.merged == 1
    assert d.name == "filmtrust"


def test_ciaodvd() -> None:
    lines = b"1,7,3,11,5,2003-11-02\n2,7,3,12,4,2003-11-03\n"
    assert named(read_entry(zipped({"movie-ratings.txt": lines}), "x", entries()["ciaodvd"])) == [(1, 7, 5), (2, 7, 4)]


def test_goodbooks_with_titles() -> None:
    books = 'book_id,goodreads_book_id,title\n1,99,"The Hunger Games, #1"\n3,98,Unrated\n'
    ratings = b"user_id,book_id,rating\n1,1,5\n2,2,3\n"
    members = {"goodbooks-10k/ratings.csv": ratings, "goodbooks-10k/books.csv": books.encode()}
    d = read_entry(zipped(members), "x", entries()["goodbooks-10k"])
    assert named(d) == [(1, 1, 5), (2, 2, 3)]
    assert d.titles.tolist() == ["The Hunger Games, #1", ""]


def test_book_crossing_without_its_implicit_zeros() -> None:
    ratings = '"User-ID";"ISBN";"Book-Rating"\r\n"7";"034545104X";"0"\r\n"7";"0155061224";"5"\r\n"8";"034545104X";"10"\r\n'
    books = '"ISBN";"Book-Title";"Book-Author"\r\n"034545104X";"Caf\u00e9 \\"Flesh\\"; a novel";"M. J. Rose"\r\n'
    members = {"BX-Book-Ratings.csv": ratings.encode("latin-1"), "BX-Books.csv": books.encode("latin-1")}
    d = read_entry(zipped(members), "x", entries()["book-crossing"])
    assert named(d) == [(7, "0155061224", 5), (8, "034545104X", 10)]
    assert d.titles.tolist() == ["", 'Caf\u00e9 "Flesh"; a novel']


def test_amazon_counts_time_in_milliseconds() -> None:
    Path("Books.csv.gz").write_bytes(gzip.compress(b"user_id,parent_asin,rating,timestamp\nAFK,B0B,5.0,1523092443644\n"))
    d = read_entry(Path("Books.csv.gz"), "amazon-books", entries()["amazon-books"])
    assert named(d) == [("AFK", "B0B", 5)]
    assert d.timestamps.tolist() == [1523092443]


def test_kuairec_has_its_small_matrix_as_a_fold() -> None:
    head = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
    big = head + "0,3,1,2,t,20200705,1593878903.438,0.5\n0,3,1,2,t,20200705,1593878904.0,0.75\n5,4,1,1,t,20200705,1.5,1.2\n"
    small = head + "5,3,1,2,,,,2.5\n"
    captions = "video_id,manual_cover_text,caption\n3,UNKNOWN,\u732b  cat\n"
    members = {"data/big_matrix.csv": big.encode(), "data/small_matrix.csv": small.encode()}
    d = read_entry(zipped(members), "x", entries()["kuairec"])
    assert d.titles is None
    assert named(d) == [(0, 3, 0.75), (5, 4, 1.2), (5, 3, 2.5)]
    assert d.folds["small"].tolist() == [False, False, True]
    d = read_entry(zipped(members | {"data/kuairec_caption_category.csv": captions.encode()}), "x", entries()["kuairec"])
    assert d.titles.tolist() == ["\u732b cat", ""]
    with refused(DataError, "small_matrix.csv"):
        read_entry(zipped({"data/big_matrix.csv": big.encode()}), "x", entries()["kuairec"])


def netflix(movies: dict[str, bytes], probe: bytes = b"1:\n7\n3:\n7\n8\n") -> Path:
    titles = "1,2003,Dinosaur Planet\n3,1997,Caf\u00e9, Character\n".encode("latin-1")
    inner = tarred({f"training_set/{name}": content for name, content in movies.items()})
    members = {"download/training_set.tar": inner, "download/probe.txt": probe, "download/movie_titles.txt": titles}
    Path("nf.tar.gz").write_bytes(tarred(members, gz=True))
    return Path("nf.tar.gz")


MOVIES = {"mv_0000001.txt": b"1:\n9,3,2005-09-06\n7,5,2005-05-13\n", "mv_0000003.txt": b"3:\n7,4,1999-11-11\n8,1,2005-12-26\n"}


def test_netflix_with_its_probe() -> None:
    d = read_entry(netflix(MOVIES), "x", entries()["netflix"])
    assert named(d) == [(9, 1, 3), (7, 1, 5), (7, 3, 4), (8, 3, 1)]
    assert d.titles.tolist() == ["Dinosaur Planet", "Caf\u00e9, Character"]
    assert d.folds["probe"].tolist() == [False, True, True, True]
    assert d.timestamps[0] == np.datetime64("2005-09-06", "s").astype(int)
    with refused(DataError, "probe.txt"):
        read_entry(netflix(MOVIES, b"3:\n9\n"), "x", entries()["netflix"])
    with refused(DataError, "mv_0000003.txt"):
        read_entry(netflix(MOVIES | {"mv_0000003.txt": b"3:\n7,four,2005-01-01\n"}), "x", entries()["netflix"])
    with refused(DataError, "mv_0000003.txt, line 3", "user 7"):
        read_entry(netflix(MOVIES | {"mv_0000003.txt": b"3:\n7,4,2005-01-01\n7,4,2005-01-01\n"}), "x", entries()["netflix"])


# An Excel file of 1997 with the rows 2, -7.82, 99, 8.79 and 1, 99, 0, 99, as xlwt writes it.
XLS = zlib.decompress(
    base64.b64decode(
        "eNrtWD1ok0EYfu7LT5PSpF9rK7RCCAWr1i7i4tJ+VdBOluqiiKipzSAtqQQXXazWjIrgpLgUurhUXfxBRd0EhYoOgiAkOjqJCg4153tP7tP4Mz"
        "SgAfWej3vuzfveez+59+64e7rUUZ6/3lvBDxhGBFWdRLxOpyQlwx8+xK61EcM8IUk7/FVIJmQi4zHcST1pMXNo5rsCD9eiD4WB15L24yjGZgr5"
        "bBOxjX3IKdOHIWGFy6JJo4e96iQfJq8iX2XJu+QRas6Sh6RsWe3DUjA2sMVG8V6vj7Y0TL036fOSmk3oxiMTxSfPq1rZGLYWj+Smm2HIRNuwAJ"
        "mF0XwhX8xNl9ElpgV81FngQ7juHmSdvrl6BdF/+qa/4EWBWehDDMuSbIkHIrWJzC1zD6yh1eyWXF3+d6srxahrE55EO+UOxp4vvstX3j3bOTEe"
        "HKRm1tZmwmStaRQap4yHOKdp8cjGMkB5I/k0a11DuZdsBiJ5/3i3FXbMscwZWvulnc3E82Bdnbxe5NLbXbcypTfBBpEXRysnuhZfBPPok0FPir"
        "/55jCoBtWliwa3gzBXdo2+Ivf8tF4Tnm/7ru3h0o57yNijpZX8+L3WPs4pI99PQU4k46V+4aVYPk6ulfe+yhEMe524wb9qpO40a4WDg4ODg4OD"
        "g4PD/wZlbxERe4+I2VtKi33X+Syp6p5J/lnsxox8x+SKux0FyYs43lD8rEZMhXWpFfqE74UGe6T1IqYwwX5MNRy/cstU9eNZsaP/+5ZQo+1XG+"
        "nnH27/C4IlsBQ="
    )
)


def test_jester_is_a_sheet_of_excel() -> None:
    path = zipped({"jester-data-1.xls": XLS})
    if importlib.util.find_spec("python_calamine") is None:
        with refused(DataError, "x.zip/jester-data-1.xls", "mfbench[excel]"):
            read_entry(path, "jester-1", entries()["jester-1"])
        return
    assert named(read_entry(path, "jester-1", entries()["jester-1"])) == [(1, 1, -7.82), (1, 3, 8.79), (2, 2, 0)]
    with refused(DataError, "jester-data-1.xls", "cannot be read"):
        read_entry(zipped({"jester-data-1.xls": XLS[:2000]}), "jester-1", entries()["jester-1"])


# --- the user's own catalogue ----------------------------------------------------------------------------------------


def own(tree: Any, folder: str = ".") -> None:
    Path(folder).mkdir(exist_ok=True)
    (Path(folder) / "datasets.yaml").write_text(yaml.safe_dump(tree))


RATINGS = "who,what,stars\n" + "".join(f"u{k % 4},{k // 4},{1 + k % 5}\n" for k in range(20))


@pytest.mark.parametrize("folder", [".", "specs", "experiments"])
def test_a_data_set_of_ones_own_is_found_from_the_folder_of_the_spec(folder: str) -> None:
    own({"mine": {"file": "r.csv", "user": "who", "item": "what", "rating": "stars", "licence": "Ours."}}, folder)
    (Path(folder) / "r.csv").write_text(RATINGS)
    (Path(folder) / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    d = load(load_spec(f"{folder}/spec.yaml").data)
    assert (d.name, len(d.ratings)) == ("mine", 20)
    if folder != "specs":
        assert mfbench.get_data("mine")["ratings"] == 20
        assert [one["licence"] for one in mfbench.list_data() if one["own"]] == ["Ours."]
        assert mfbench.data_info("mine")["here"]


def test_its_study_follows_its_content_and_not_its_place() -> None:
    tree = {"file": "r.csv", "user": "who", "item": "what", "rating": "stars"}
    own({"mine": tree})
    Path("r.csv").write_text(RATINGS)
    before = study_key(load_spec(SPEC))
    assert len(load(load_spec(SPEC).data).ratings) == 20
    Path("r.csv").rename("moved.csv")
    own({"mine": {**tree, "file": "moved.csv", "what": "moved"}})
    assert study_key(load_spec(SPEC)) == before
    Path("moved.csv").write_text(RATINGS + "u0,9,5\n")
    assert study_key(load_spec(SPEC)) != before
    assert len(load(load_spec(SPEC).data).ratings) == 21  # prepared anew
    assert load_spec(load_spec(SPEC), ["data.dataset=planted-10k"]).data.entry is None


def test_titles_of_ones_own_may_lie_beside_the_file() -> None:
    titles = {"member": "t.csv", "item": "id", "title": "name"}
    own({"mine": {"file": "r.csv", "user": "who", "item": "what", "rating": "stars", "titles": titles}})
    Path("r.csv").write_text(RATINGS)
    Path("t.csv").write_text("id,name\n0,Zero\n4,Four\n")
    assert load(load_spec(SPEC).data).titles.tolist() == ["Zero", "", "", "", "Four"]
    Path("t.csv").write_text("id,name\n0,Nought\n")
    assert load(load_spec(SPEC).data).titles.tolist() == ["Nought", "", "", "", ""]


def test_an_archive_of_ones_own_from_a_mirror(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "mirror").mkdir()
    monkeypatch.setenv("MFBENCH_MIRROR", str(here / "mirror"))
    (here / "mirror" / "mine.tar.gz").write_bytes(tarred({"a/r.csv": RATINGS.encode("utf-16")}, gz=True))
    digest = hashlib.sha256((here / "mirror" / "mine.tar.gz").read_bytes()).hexdigest()
    tree = {"address": "https://example.org/v1/data.tar.gz", "member": "r.csv", "encoding": "utf-16"}
    tree |= {"user": "who", "item": "what", "rating": "stars"}
    own({"mine": tree})
    assert mfbench.get_data("mine")["archive_sha256"] == digest == card("mine")["archive_sha256"]
    assert (here / "data" / "mine.tar.gz.sha256").read_text().startswith(digest)
    own({"mine": {**tree, "sha256": "0" * 64}})
    with refused(DataError, "mine.tar.gz", digest[:12]):
        dataset_named("mine")


def test_an_archive_without_a_known_hash_must_stay_what_it_was_first() -> None:
    path = Path("some.zip")
    path.write_bytes(b"first")
    assert kept(path) == kept(path) == path
    path.write_bytes(b"second")
    with refused(DataError, "some.zip", "first downloaded"):
        kept(path)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"mine": {"file": "r.csv", "usr": "who"}}, ["datasets.yaml: mine.usr", "unknown key", "user"]),
        ({"mine": {"user": "who"}}, ["mine", "either address or file"]),
        ({"mine": {"file": "r.csv", "encoding": "utf-9"}}, ["mine", "utf-9", "latin-1"]),
        ({"mine": {"file": "r.csv", "sha256": "abc"}}, ["mine.sha256"]),
        ({"mine": {"file": "r.zip", "member": "../../secret"}}, ["mine.member", "not inside"]),
        ({"splits": {"file": "r.csv"}}, ["'splits'"]),
        ({"../out": {"file": "r.csv"}}, ["'../out'"]),
        (["mine"], ["mapping"]),
    ],
)
def test_what_is_wrong_in_an_entry(tree: Any, words: list[str]) -> None:
    own(tree)
    with refused(SpecError, *words):
        load_spec(SPEC)


def test_an_entry_inside_a_spec_names_no_folder_outside_the_data_home() -> None:
    with refused(SpecError, "'../out'"):
        load_spec({**SPEC, "data": {"dataset": "../out", "entry": {"file": "r.csv"}}})


def test_a_run_is_made_again_from_a_file_that_has_moved() -> None:
    own({"mine": {"file": "r.csv", "user": "who", "item": "what", "rating": "stars"}})
    Path("r.csv").write_text(RATINGS)
    made = mfbench.run(SPEC, ["model.backend=mean"]).record
    assert made.data.name == "mine"
    key = made.run_key
    Path("datasets.yaml").unlink()  # the record has the entry
    Path("r.csv").rename("moved.csv")
    with refused(InputError, "r.csv", "--data FILE"):
        mfbench.reproduce(key)
    assert mfbench.reproduce(key, data="moved.csv").reproduced


def test_an_entry_that_does_not_fit_its_data() -> None:
    own({"mine": {"file": "none.csv"}})
    with refused(DataError, "none.csv", "mine"):
        load(load_spec(SPEC).data)
    own({"mine": {"file": "x.zip", "member": "r.csv"}})
    zipped({"q.csv": b"user,item,rating\n1,1,1\n"})
    with refused(DataError, "x.zip", "0 files named r.csv"):
        load(load_spec(SPEC).data)
    own({"mine": {"file": "q.csv", "member": "r.csv"}})
    Path("q.csv").write_text("user,item,rating\n1,1,1\n")
    with refused(DataError, "q.csv", "neither a zip nor a tar"):
        load(load_spec(SPEC).data)
    own({"ml-1m": {"file": "x.zip"}})
    with refused(DataError, "ml-1m", "rename yours"):
        load(load_spec({**SPEC, "data": {"dataset": "ml-1m"}}).data)
