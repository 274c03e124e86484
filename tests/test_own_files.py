"""A file of the user's is read as what it is, with or without a header, by blanks, wide, JSON lines; and says what it was."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused
from test_tables import GOOD, TRIPLES, read, refuses, triples

from mfbench.core.errors import SpecError
from mfbench.spec import load_spec, run_study_key, study_key

U_DATA = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n"  # the first lines of ML-100K's
FILM_TRUST = "1 1 2\n1 2 4\n1 3 3.5\n2 1 4\n2 1 0.5\n"
JESTER = "3,-7.82,8.79,99,-9.66\n2,4.08,99,99,0\n1,99,99,99,9.03\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my.csv"


# --- with and without a header ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [U_DATA, FILM_TRUST, "u1,i1,3.5\nu1,i2,4\n", JESTER, "1::10::3\n2::10::4\n"])
def test_a_first_line_that_looks_like_ratings_is_asked_about_and_never_used(file: Path, content: str) -> None:
    first = content.partition("\n")[0]
    for names in ({}, dict(zip(("user", "item", "rating"), first.replace("::", " ").replace(",", " ").split(), strict=False))):
        file.write_text(content)
        with refused(SpecError, file.name, "data.header", "false", "true"):
            read(file, **names)


def test_every_line_of_a_file_without_a_header_is_a_rating(file: Path) -> None:
    d = read(file, U_DATA, header=False)
    assert triples(d) == [(196, 242, 3.0), (186, 302, 3.0), (22, 377, 1.0)]
    assert d.timestamps is None
    timed = read(file, header=False, timestamp=3)
    assert timed.timestamps is not None
    assert timed.timestamps.tolist() == [881250949, 891717742, 878887116]
    assert timed.digest == d.digest


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "::", " ", "   ", " \t "])
def test_columns_by_position(file: Path, delimiter: str) -> None:
    rows = [("x", rating, user, item) for user, item, rating in TRIPLES]
    content = "\n".join(delimiter.join(map(str, row)) for row in rows)
    how = {"delimiter": "blanks"} if delimiter == " \t " else {}  # else found out
    assert triples(read(file, content, header=False, user=2, item=3, rating=1, **how)) == TRIPLES
    with_header = delimiter.join("abcd") + "\n" + content
    assert triples(read(file, with_header, user=2, item="d", rating=1, **how)) == TRIPLES


def test_a_header_of_numbers_is_used_where_the_spec_says_that_it_is_one(file: Path) -> None:
    content = GOOD.replace("user,item,rating", "1,2,3")
    assert triples(read(file, content, header=True, user="1", item="2", rating="3")) == TRIPLES
    another = "user,item,rating,2015\n1,10,3.5,a\n2,10,4,b\n1,20,5,c\n"
    assert triples(read(file, another)) == TRIPLES, "a number among the names, in a column that is not read"


def test_a_column_that_is_not_there(file: Path) -> None:
    refuses(file, U_DATA, "data.rating is column 7", "0 to 3", header=False, rating=7)
    refuses(file, U_DATA, "data.item", "column", header=False, item=0)
    with pytest.raises(ValueError, match="user: with header: false, give the position"):
        read(file, U_DATA, header=False, user="who")
    with pytest.raises(ValueError, match="user"):
        read(file, U_DATA, header=False, user=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1 2 3\n1 x good\n", ["line 2", "'good'"]),
        ("1 2 3\n\n1 3\n", ["line 3", "2 fields", "the first line has 3"]),
        ("1 2 3\n  1   2  4\n", ["line 2", "line 1", "user 1"]),
    ],
)
def test_errors_name_the_line_without_a_header_too(file: Path, content: str, words: list[str]) -> None:
    refuses(file, content, *words, header=False)


# --- blanks ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(" \t", min_size=1, max_size=4), min_size=8, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_any_run_of_blanks_separates(tmp_path_factory: pytest.TempPathFactory, blanks: list[str], end: str) -> None:
    path, (a, b, c, d, e, f, before, after) = tmp_path_factory.getbasetemp() / "blanks.txt", blanks
    content = f"{before}user{a}item{b}rating{after}{end}1{c}10{d}3.5{after}{end}{before}2{e}10{f}4{end}1{a}20{b}5"
    assert triples(read(path, content, delimiter="blanks")) == TRIPLES
    spaces = content.replace("\t", " ")
    assert triples(read(path, spaces)) == TRIPLES
    assert triples(read(path, spaces.replace("user", "who"), user="who")) == TRIPLES


def test_blanks_inside_names_do_not_separate(file: Path) -> None:
    assert triples(read(file, "Ann Lee,The Film,3\nBo,A B C D,4\n", header=False)) == [
        ("Ann Lee", "The Film", 3.0),
        ("Bo", "A B C D", 4.0),
    ]


# --- pairs rated twice -----------------------------------------------------------------------------------------------


def test_a_pair_that_is_rated_twice(file: Path) -> None:
    refuses(file, FILM_TRUST, "line 5", "line 4", "data.duplicates", header=False)
    last = read(file, FILM_TRUST, header=False, duplicates="last")
    assert triples(last) == [(1, 1, 2.0), (1, 2, 4.0), (1, 3, 3.5), (2, 1, 0.5)]
    assert last.merged == 1
    assert triples(read(file, header=False, duplicates="mean"))[3] == (2, 1, 2.25)


def test_the_last_is_that_of_the_latest_time(file: Path) -> None:
    content = "user,item,rating,at\n1,1,1,30\n1,2,5,10\n1,1,2,20\n1,1,3,30\n1,1,4,5\n"
    d = read(file, content, timestamp="at", duplicates="last")
    assert triples(d) == [(1, 2, 5.0), (1, 1, 3.0)]
    assert d.timestamps is not None
    assert d.timestamps.tolist() == [10, 30]
    assert triples(read(file, content, duplicates="last")) == [(1, 2, 5.0), (1, 1, 4.0)]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.floats(-5, 5)), min_size=1, max_size=30), st.randoms())
def test_policies_agree_with_pandas(tmp_path_factory: pytest.TempPathFactory, rows: Any, random: Any) -> None:
    import pandas as pd

    path = tmp_path_factory.getbasetemp() / "twice.csv"
    frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
    text = frame.to_csv(index=False)
    last = frame.drop_duplicates(["user", "item"], keep="last")
    assert triples(read(path, text, duplicates="last")) == list(last.itertuples(index=False, name=None))
    means = frame.groupby(["user", "item"]).rating.mean()
    made = read(path, text, duplicates="mean")
    assert made.merged == len(rows) - len(means)
    assert {(u, i): r for u, i, r in triples(made)} == pytest.approx(means.to_dict(), abs=1e-12)
    random.shuffle(rows)
    assert read(path, pd.DataFrame(rows, columns=frame.columns).to_csv(index=False), duplicates="mean").digest == made.digest


# --- JSON lines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["my.jsonl", "my.ndjson", "my.txt", "my.jsonl.gz"])
def test_json_lines(tmp_path: Path, name: str) -> None:
    rows = [json.dumps({"item": i, "user": u, "rating": r, "note": "x"}) for u, i, r in TRIPLES]
    content = "\n\n".join(rows).encode()
    assert triples(read(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content)) == TRIPLES


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"user": 1, "item": 2, "rating": 3}\n\n{"user": 1, "item": 3}\n', ["line 3", "rating is missing"]),
        ('{"user": 1, "item": 2, "stars": 3}\n', ["no column rating", "user, item, stars"]),
        ('{"user": 1, "item": 2, "rating": 3\n', ["JSON"]),
        ('{"user": 1, "item": 2, "rating": 3}\n' * 2, ["line 2", "line 1"]),
    ],
)
def test_wrong_json_lines(tmp_path: Path, content: str, words: list[str]) -> None:
    refuses(tmp_path / "my.jsonl", content, *words)


# --- what it says ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("workplace")
def test_data_info_says_in_one_line_what_a_file_holds(command: Any) -> None:
    Path("u.data").write_text(U_DATA + U_DATA[:20].replace("\t3", "\t4") + "\n")
    assert command("data", "info", "u.data")[1] == (
        "u.data: 3 ratings by 3 users of 3 items, from 1 to 4, duplicates merged: 1, 1997-11-07 to 1998-04-04\n"
        "read as data: {file: u.data, timestamp: 3, header: false, duplicates: last}\n"
    )
    how = ["data.header=false", "data.timestamp=3", "data.duplicates=mean"]
    status, out, _ = command("data", "info", "u.data", *(word for one in how for word in ("--set", one)), "--json")
    assert status == 0
    found = json.loads(out.splitlines()[-1])
    assert (found["ratings"], found["users"], found["items"], found["duplicates"]) == (3, 3, 3, 1)
    assert (found["first_day"], found["last_day"]) == ("1997-11-07", "1998-04-04")
    spec = {"name": "x", "data": {"file": "u.data", "header": False, "timestamp": 3, "duplicates": "last"}}
    Path("x.yaml").write_text(json.dumps({**spec, "split": {"kind": "none"}}))
    assert command("data", "info", "x.yaml")[1] == (
        "u.data: 3 ratings by 3 users of 3 items, from 1 to 4, duplicates merged: 1, 1997-11-07 to 1998-04-04\n"
    )
    assert command("data", "info", "planted-10k", "--set", "data.header=false")[0] == 2
    for nothing in ("nothing.csv", "folder/nothing"):
        status, _, err = command("data", "info", nothing)
        assert (status, f"{nothing}: no such file; give its path" in err) == (2, True)
    assert "unknown data set" in command("data", "info", "nothing")[2]


@pytest.mark.usefixtures("stored")
def test_a_run_says_what_it_read(command: Any, small: dict[str, Any]) -> None:
    cells = np.random.default_rng(0).choice(400, 200, replace=False)
    Path("mine.csv").write_text("\n".join(f"{c // 20}\t{c % 20}\t{c % 5}" for c in cells))
    Path("x.yaml").write_text(json.dumps({**small, "data": {"file": "mine.csv", "header": False}}))
    for words in (["run", "x.yaml", "--set", "model.backend=mean"], ["sweep", "x.yaml", "--trials", "1"]):
        status, _, err = command(*words)
        assert status == 0, err
        assert err.startswith("mine.csv: 200 ratings by 20 users of 20 items, from 0 to 4, no duplicates, no timestamps\n")


@pytest.mark.usefixtures("workplace")
def test_the_new_keys_change_a_study_only_where_they_are_used(small: dict[str, Any]) -> None:
    Path("mine.csv").write_text(GOOD)

    def keys(**more: Any) -> tuple[str, str]:
        spec = load_spec({**small, "data": {"file": "mine.csv", **more}})
        return study_key(spec), run_study_key(spec)

    assert keys() == keys(header=True) == keys(duplicates="error") == ("small-841f9361", "small-2b8e0c60")
    others = [keys(header=False), keys(duplicates="last"), keys(duplicates="mean"), keys(wide={}), keys(wide={"skip": 1})]
    assert len({keys(), *others}) == 6
