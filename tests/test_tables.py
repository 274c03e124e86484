"""The user's own files: what is read, and the one sentence for what cannot be."""

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from mfbench.core.errors import DataError
from mfbench.data.catalogue import load
from mfbench.data.dataset import Dataset
from mfbench.spec import Data

GOOD = "user,item,rating\n1,10,3.5\n2,10,4\n1,20,5\n"


def read(path: Path, content: str | bytes | None = None, **keys: Any) -> Dataset:
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load(Data(file=str(path), **keys))


def refuses(path: Path, content: str | bytes | None, *says: str, **keys: Any) -> None:
    """This table is wrong input: one sentence, in which the file or the key of the spec stands, and these words."""
    with refused(DataError, *says) as caught:
        read(path, content, **keys)
    assert any(where in str(caught.value) for where in (str(path), os.path.relpath(path), "data."))
    assert caught.value.exit_code == 2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my.csv"


def triples(d: Dataset) -> list[tuple[Any, Any, float]]:
    r = d.ratings
    return list(zip(d.user_ids[r.users].tolist(), d.item_ids[r.items].tolist(), r.values.tolist(), strict=True))


TRIPLES = [(1, 10, 3.5), (2, 10, 4.0), (1, 20, 5.0)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "::"])
@pytest.mark.parametrize("given_", [True, False])
def test_delimiters_given_and_sniffed(file: Path, delimiter: str, given_: bool) -> None:
    d = read(file, GOOD.replace(",", delimiter), **({"delimiter": delimiter} if given_ else {}))
    assert triples(d) == TRIPLES
    assert d.ratings.values.dtype == np.float32


@pytest.mark.parametrize(
    "content",
    [
        GOOD.replace("\n", "\r\n"),
        GOOD.rstrip("\n"),
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\n\n"),
        'rating,extra,item,user\n3.5,"a, b",10,1\n4,"two\nlines",10,2\n5,,20,1\n',
    ],
    ids=["crlf", "no last newline", "byte order mark", "blank lines", "other columns"],
)
def test_ways_to_write_a_table(file: Path, content: str) -> None:
    assert triples(read(file, content)) == TRIPLES


def test_gzip_and_parquet_hold_the_same(tmp_path: Path) -> None:
    plain = read(tmp_path / "a.csv", GOOD)
    zipped = read(tmp_path / "a.csv.gz", gzip.compress(GOOD.encode(), mtime=0))
    table = pa.table({"user": [1, 2, 1], "item": pa.array([10, 10, 20], pa.int32()), "rating": [3.5, 4.0, 5.0]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert plain.digest == zipped.digest == read(tmp_path / "a.parquet").digest


def test_columns_by_name_and_timestamps(file: Path) -> None:
    content = "who;what;stars;when\n1;a;1;964982703\n1;b;2;-5\n"
    d = read(file, content, user="who", item="what", rating="stars", timestamp="when")
    assert d.timestamps is not None
    assert d.timestamps.dtype == np.int64
    assert d.timestamps.tolist() == [964982703, -5]
    assert d.item_ids.tolist() == ["a", "b"]


def test_ids_with_leading_zeros_stay_words(file: Path) -> None:
    d = read(file, "user,item,rating\n007,1,1\n7,2,2\n08,-3,3\n")
    assert d.user_ids.tolist() == ["007", "08", "7"]
    assert d.item_ids.dtype == np.int64
    assert d.item_ids.tolist() == [-3, 1, 2]


def test_long_ids_and_exact_ratings_survive(file: Path) -> None:
    d = read(file, f"user,item,rating\n{2**63},1,0.1\n1,{2**62},1e-3\n")
    assert d.user_ids.tolist() == ["1", str(2**63)]
    assert d.item_ids.tolist() == [1, 2**62]
    assert d.ratings.values.dtype == np.float64
    assert d.ratings.values.tolist() == [0.1, 1e-3]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (GOOD + "1,10,2\n", ["line 5", "user 1", "item 10", "line 2"]),
        ("user,item,rating\n1,2,nan\n", ["line 2", "nan"]),
        ("user,item,rating\n1,2,3\n\n1,3,inf\n", ["line 4", "inf"]),
        ("user,item,rating\n1,2,1e999\n", ["line 2", "inf"]),
        ("user,item,rating\n1,2,3\n1,3,good\n", ["line 3", "'good'"]),
        ("user,item,rating\n1,2,\n", ["line 2", "rating is missing"]),
        ("user;item;rating\n1;2;3,5\n", ["line 2", "'3,5'"]),
        ("user,item,rating\n,2,3\n", ["line 2", "user is missing"]),
        ("user,item,rating\n1,1,1\n1,NA,3\n", ["line 3", "item is missing"]),
        ("user,film,rating\n1,2,3\n", ["column item", "user, film, rating", "data.item"]),
        ("user,item,item,rating\n1,2,2,3\n", ["2 columns are named item"]),
        ("user,item,rating\n1,2,3\n1,2\n", ["line 3", "2 fields", "3"]),
        ("user,item,rating\n1,2,3\n1,2,3,4\n", ["line 3", "4 fields", "3"]),
        ('user,item,rating,note\n1,2,3,"a\nb\nc"\n1,3,bad,x\n', ["line 5", "'bad'"]),
        ('user,item,rating\n1,2,3\n1,"3,4\n5,6,7\n', ["line 3", "quotes"]),
        (b"user,item,rating\n1,2,3\n1,caf\xe9,3\n", ["line 3", "UTF-8"]),
        ("user,item,rating\n1,2,3\n".encode("utf-16"), ["UTF-8"]),
        ("", ["empty"]),
        ("\n\n", ["empty"]),
        ("user,item,rating\n", ["no ratings"]),
        ("user,item,rating", ["no ratings"]),
        (gzip.compress(GOOD.encode(), mtime=0)[:-9], ["gzip"]),
    ],
)
def test_one_sentence_for_what_is_wrong(file: Path, content: str | bytes, words: list[str]) -> None:
    refuses(file, content, *words)


def test_a_field_may_be_as_long_as_it_likes(file: Path) -> None:
    review = "x" * 140_000  # more than the csv module takes by default
    assert triples(read(file, f"user,item,rating,{review}\n1,10,3.5,{review}\n2,10,4,\n1,20,5,\n")) == TRIPLES
    refuses(file, f"user,item,rating\n1,2,{review}\n", "line 2")


@pytest.mark.parametrize(
    ("content", "keys", "words"),
    [
        (b"\xff\xfa,b\n3,4\n", {"wide": {}}, ["header, column 0", "UTF-8"]),
        (b"\xff\xfa,2\n3,4\n", {"wide": {}, "header": False}, ["line 1", "UTF-8"]),
        (b'{"user": "\xff", "item": 1, "rating": 2}\n', {}, ["line 1", "user is not UTF-8"]),
        (b'{"user": 1, "item": 1, "rating": 2, "\xff": 2}\n', {}, ["not JSON objects"]),
        (b"\xff\xfa\n", {}, ["no column user"]),
        (GOOD, {"delimiter": "\0"}, ["data.delimiter"]),
    ],
)
def test_bytes_that_are_no_text(file: Path, content: str | bytes, keys: dict[str, Any], words: list[str]) -> None:
    refuses(file, content, *words, **keys)


@pytest.mark.parametrize("name", ["a\nb.csv", "\x1b[31m.csv", "\u202e.csv", "é" * 60 + ".csv"])
def test_names_in_a_message_are_shown_in_one_short_line(tmp_path: Path, name: str) -> None:
    for content in ("", GOOD.replace("item", "i\x1b[2Jt" + "\n" * 300), f'user,"{"y" * 9000}",rating\n1,2,3\n'):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError) as caught:
            load(Data(file=str(tmp_path / name)))
        assert len(str(caught.value)) < 500
        assert str(caught.value).isprintable()


def test_wrong_timestamps(file: Path) -> None:
    refuses(file, "user,item,rating,t\n1,2,3,5\n1,3,3,2015-03-01\n", "line 3", "2015-03-01", timestamp="t")


def test_wrong_delimiter(file: Path) -> None:
    refuses(file, GOOD, "data.delimiter", delimiter="ab")
    refuses(file, GOOD, "column user", delimiter=";")


def test_no_file(tmp_path: Path) -> None:
    refuses(tmp_path / "none.csv", None, "no such file")
    refuses(tmp_path, None, "folder")


def test_latin_1_in_a_column_that_is_not_read_is_no_matter(file: Path) -> None:
    assert len(read(file, b"user,item,rating,title\n1,2,3,caf\xe9\n").ratings) == 1


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"user": [1, None], "item": [1, 2], "rating": [1.0, 2.0]}, ["row 2", "user is missing"]),
        ({"user": [1, 1], "item": [1, 2], "rating": [1.0, None]}, ["row 2", "rating is missing"]),
        ({"user": [1, 1], "item": [1, 2], "rating": [1.0, float("nan")]}, ["row 2", "nan"]),
        ({"user": [1, 1], "item": [2, 2], "rating": [1.0, 2.0]}, ["row 2", "row 1", "item 2"]),
        ({"user": [1.5, 1], "item": [1, 2], "rating": [1.0, 2.0]}, ["user column holds double"]),
        ({"user": [1, 1], "item": [1, 2], "rating": [True, False]}, ["rating column holds bool"]),
        ({"user": [1], "item": [1]}, ["column rating", "user, item"]),
        (dict.fromkeys(("user", "item", "rating"), pa.array([], pa.int64())), ["no ratings"]),
    ],
)
def test_wrong_parquet(tmp_path: Path, columns: dict[str, Any], words: list[str]) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    refuses(tmp_path / "a.parquet", None, *words)


def test_parquet_text_that_is_not_utf_8(tmp_path: Path) -> None:
    raw = pa.array([b"a", None, b"\xff"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    for what in ("user", "item", "rating"):
        for column, says in ((text, ["row 3", f"the {what} is not UTF-8"]), (raw, [what])):
            table = {"user": [1, 2, 3], "item": [1, 1, 1], "rating": [1, 2, 3]} | {what: column}
            pq.write_table(pa.table(table), tmp_path / "a.parquet")
            refuses(tmp_path / "a.parquet", None, *says)


def test_not_a_parquet(tmp_path: Path) -> None:
    refuses(tmp_path / "a.parquet", GOOD, "not a valid Parquet")
    refuses(tmp_path / "b.parquet", b"PAR1 and no more", "not a valid Parquet")


def test_parquet_words_and_whole_floats(tmp_path: Path) -> None:
    user = pa.array(["b", "a", "b"]).dictionary_encode()
    pq.write_table(pa.table({"user": user, "item": [1.0, 1.0, 2.0], "rating": [1, 2, 3]}), tmp_path / "a.parquet")
    d = read(tmp_path / "a.parquet")
    assert triples(d) == [("b", 1, 1.0), ("a", 1, 2.0), ("b", 2, 3.0)]
    assert d.item_ids.dtype == np.int64


@given(st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_the_order_of_rows_does_not_change_the_digest(tmp_path_factory: pytest.TempPathFactory, random: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "order.csv"
    rows = [f"u{u},{i},{(u * i) % 5}" for u in range(5) for i in range(4)]
    before = read(path, "\n".join(["user,item,rating", *rows])).digest
    random.shuffle(rows)
    assert read(path, "\n".join(["user,item,rating", *rows])).digest == before
    assert read(path, "\n".join(["user,item,rating", *rows[1:]])).digest != before
