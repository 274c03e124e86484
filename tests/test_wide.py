"""A wide file: a matrix with a row for each user and a column for each item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused
from test_tables import read, triples

from mfbench.core.errors import DataError, SpecError

JESTER = "3,-7.82,8.79,99,-9.66\n2,4.08,99,99,0\n1,99,99,99,9.03\n"  # in front the count, 99 where not rated


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my.csv"


def test_jester_as_it_lies(file: Path) -> None:
    d = read(file, JESTER, header=False, wide={"missing": 99, "skip": 1})
    assert triples(d) == [(1, 1, -7.82), (1, 2, 8.79), (1, 4, -9.66), (2, 1, 4.08), (2, 4, 0.0), (3, 4, 9.03)]


def test_wide_with_ids_and_a_header(file: Path) -> None:
    content = "name;seen;Alien;Brazil\nann;2;5;\nbo;0;;NA\ncy;1;nan;2.5\n"
    d = read(file, content, wide={"ids": "first", "skip": 1})
    assert triples(d) == [("ann", "Alien", 5.0), ("cy", "Brazil", 2.5)]
    with refused(SpecError, "data.header"):
        read(file, "user,1,2\nann,5,3\n", wide={"ids": "first"})
    assert triples(read(file, wide={"ids": "first"}, header=True)) == [("ann", 1, 5.0), ("ann", 2, 3.0)]


@pytest.mark.parametrize(
    ("content", "wide", "words"),
    [
        ("1,2\n3,x\n", {}, ["line 2, column 1", "'x'"]),
        ("1,2\n3,inf\n", {}, ["line 2, column 1", "inf"]),
        ("1,2\n3,4,5\n", {}, ["line 2", "3 fields", "the first line has 2"]),
        ("a,2\na,4\n", {"ids": "first"}, ["line 2, column 1", "user a", "line 1"]),
        ("99,99\n", {"missing": 99}, ["no ratings"]),
        ("a,1\n,2\n", {"ids": "first"}, ["line 2", "user is missing"]),
        ("1\n2\n", {"skip": 1}, ["1 columns"]),
    ],
)
def test_what_is_wrong_in_a_matrix(file: Path, content: str, wide: dict[str, Any], words: list[str]) -> None:
    file.write_text(content)
    with refused(DataError, *words, "my.csv"):
        read(file, header=False, wide=wide)


def test_wide_has_no_columns_of_its_own(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rating: a wide file has no such columns"):
        read(file, JESTER, header=False, wide={}, rating=2)
    with refused(SpecError, "data.wide", "CSV"):
        read(tmp_path / "a.jsonl", '{"user": 1}', wide={})


@given(st.data())
def test_a_matrix_and_its_long_form_are_the_same_data(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    n, m = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    cells = st.one_of(st.none(), st.floats(-100, 98, width=32))
    matrix = data.draw(st.lists(st.lists(cells, min_size=m, max_size=m), min_size=n, max_size=n))
    rated = [(u, i, r) for u, row in enumerate(matrix, 1) for i, r in enumerate(row, 1) if r is not None]
    if not rated:
        return
    folder = tmp_path_factory.getbasetemp()
    wide = "\n".join(",".join("99" if r is None else repr(r) for r in row) for row in matrix)
    long = "\n".join(f"{u},{i},{r!r}" for u, i, r in rated)
    from_wide = read(folder / "wide.csv", wide, header=False, wide={"missing": 99})
    assert triples(from_wide) == rated
    assert from_wide.digest == read(folder / "long.csv", long, header=False).digest
