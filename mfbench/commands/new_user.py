"""Recommendations for a new user, from a CSV file of that user's ratings."""

from __future__ import annotations

import csv
from pathlib import Path

from mfbench.core.errors import InputError
from mfbench.models.recommender import Recommender, Scored
from mfbench.spec import Data


def recommend_to(recommender: Recommender, path: Path, data: Data, n: int) -> list[Scored]:
    """Recommend at most n items, best first, to the user whose ratings are in a CSV file; the user is folded in.

    The file has a header with the columns `item` and `rating`, or the column names in the spec's data. InputError if it
    cannot be read, a rating is not a number, or the model knows none of the items.
    """
    items, ratings = ratings_in(path, ("item", str(data.item)), ("rating", str(data.rating)))
    return recommender.recommend_to_new(recommender.typed("item", items), ratings, n)


def ratings_in(path: Path, item: tuple[str, ...], rating: tuple[str, ...]) -> tuple[list[str], list[float]]:
    """Read the items, as text, and the ratings from a CSV file. item, rating: column names; the first found is used."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"--ratings {path}: this file cannot be read ({error.strerror}); give a CSV file") from None
    except (UnicodeDecodeError, csv.Error):
        raise InputError(f"--ratings {path}: not a CSV file in UTF-8; save it as one") from None
    if not rows:
        raise InputError(f"--ratings {path}: this file has no ratings; write the header item,rating and one line per rating")
    columns = [next((name for name in names if name in rows[0]), None) for names in (item, rating)]
    if None in columns:
        raise InputError(
            f"--ratings {path}: the header is {', '.join(map(str, rows[0]))}; it needs the columns"
            f" {' or '.join(dict.fromkeys(item))} and {' or '.join(dict.fromkeys(rating))}"
        )
    values = []
    for line, row in enumerate(rows, 2):
        try:
            values.append(float(row[columns[1]]))
        except (TypeError, ValueError):
            raise InputError(
                f"--ratings {path}, line {line}: the rating {row[columns[1]]!r} is not a number; give one, such as 3.5"
            ) from None
    return [str(row[columns[0]]) for row in rows], values
