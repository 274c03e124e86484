"""A look at a file of ratings: how to read it, as the data section of a spec."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mfbench.core.errors import InputError
from mfbench.data.catalogue import load
from mfbench.data.dataset import Dataset
from mfbench.data.files.columns import is_number
from mfbench.data.files.tables import counted, names_of
from mfbench.spec import COLUMNS, Data, load_spec

NAMES = {
    "user": ["user", "userid", "uid", "reviewer", "reviewerid", "customer", "customerid", "member", "memberid"],
    "item": [
        "item", "itemid", "iid", "movie", "movieid", "film", "filmid", "book", "bookid", "isbn", "product", "productid",
        "asin", "parentasin", "song", "songid", "joke", "jokeid",
    ],
    "rating": ["rating", "ratings", "stars", "star", "score", "overall", "value", "bookrating"],
    "timestamp": ["timestamp", "time", "unixreviewtime", "unixtime", "ts"],
}  # fmt: skip
"""Usual names of columns, in lower case, without blanks and the like."""

A_WIDE_FILE = 10
"""A file without a header and with this many columns or more is taken for a matrix."""


def look(file: str, changes: Iterable[str] = ()) -> tuple[dict[str, Any], Dataset]:
    """The data section for a file, and its ratings. changes: as `data.rating=stars`, for what cannot be found out.

    A first line with a number in it is taken for ratings, in the order user, item, rating and perhaps timestamp; in a header,
    usual names are known. A matrix is known if its first column counts the ratings of each row. Of pairs that are rated more
    than once, the last rating is kept. InputError if the columns cannot be told, DataError if the file cannot be read so.
    """
    given = _section({"file": file}, changes)
    names = names_of(Data.model_validate(given))
    section = given if given.get("wide") else {**_guessed(file, names, given), **given}
    section = _section({"file": file, **{key: value for key, value in section.items() if key != "file"}}, ())
    dataset = load(Data.model_validate({"duplicates": "last", **section}))
    return {**section, **({"duplicates": "last"} if dataset.merged and "duplicates" not in section else {})}, dataset


def _section(data: dict[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    spec = load_spec({"name": "new", "data": data, "split": {"kind": "none"}}, changes)
    return spec.data.model_dump(mode="json", exclude_unset=True)


def _guessed(file: str, names: Sequence[str], given: dict[str, Any]) -> dict[str, Any]:
    """The header and the columns, as far as they are not given."""
    if given.get("header") is False or ("header" not in given and any(map(is_number, names))):
        if len(names) >= A_WIDE_FILE and not set(COLUMNS) & given.keys():
            if wide := counted(Data.model_validate({**given, "header": False, "wide": {}})):
                return {"header": False, "wide": wide.model_dump(exclude_defaults=True)}
            raise InputError(
                f"{file}: this looks like a matrix with a row for each user, {len(names)} columns of numbers; say how to read"
                " it, as in --set data.header=false --set 'data.wide={missing: 99, ids: none, skip: 0}'"
            )
        timed = len(names) > 3 and names[3].isdecimal() and len(names[3]) >= 9
        return {"header": False, **({"timestamp": 3} if timed else {})}
    plain = {"".join(filter(str.isalnum, name.lower())): name for name in reversed(names)}
    found = {key: next((plain[one] for one in usual if one in plain), None) for key, usual in NAMES.items()}
    found |= {key: given[key] for key in COLUMNS if key in given}
    if missing := [key for key in COLUMNS[:3] if found[key] is None]:
        raise InputError(
            f"{file}: which column has the {missing[0]}? Its columns are {', '.join(names[:20])}; give it as in"
            f" --set data.{missing[0]}={names[0]}"
        )
    defaults = {key: Data.model_fields[key].default for key in COLUMNS}
    return {key: name for key, name in found.items() if name != defaults[key]}
