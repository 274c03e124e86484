"""KuaiRec: the watch ratios of a big matrix, and as the fold `small` those of a small one, which is nearly fully observed.

`big_matrix.csv` and `small_matrix.csv` have the columns user_id, video_id and watch_ratio among others. Timestamps are left
out, as some of the small matrix are missing. Titles are the captions in `kuairec_caption_category.csv`, if it is there.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from mfbench.core.arrays import Floats64, Positions
from mfbench.core.errors import DataError
from mfbench.data.dataset import Dataset, make_dataset
from mfbench.data.sets.members import Members, members_of

BIG, SMALL, CAPTIONS = "big_matrix.csv", "small_matrix.csv", "kuairec_caption_category.csv"
FOLD = "small"


def read_kuairec(path: Path, name: str) -> Dataset:
    """The ratings of both matrices; of a pair that was watched more than once the last row, one of the small matrix first.

    DataError if the archive has not these files and columns.
    """
    with members_of(path) as members:
        big, small = _matrix(members, BIG), _matrix(members, SMALL)
        titles = _captions(members)
    users, items, values = (np.concatenate(both) for both in zip(big, small, strict=True))
    n = len(big[0])

    def where(k: int) -> str:
        return f"{path}, {BIG}, line {k + 2}" if k < n else f"{path}, {SMALL}, line {k - n + 2}"

    folds = {FOLD: np.arange(len(users)) >= n}
    return make_dataset(name, users, items, values, where=where, titles=titles, folds=folds, duplicates="last")


def _matrix(members: Members, member: str) -> tuple[Positions, Positions, Floats64]:
    import pyarrow as pa  # here for the start-up time
    import pyarrow.csv

    kinds = {"user_id": pa.int64(), "video_id": pa.int64(), "watch_ratio": pa.float64()}
    try:
        with members.open(member) as raw:
            table: Any = pyarrow.csv.read_csv(
                raw,
                read_options=pyarrow.csv.ReadOptions(use_threads=False),
                convert_options=pyarrow.csv.ConvertOptions(column_types=kinds, include_columns=list(kinds)),
            )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        first = str(error).splitlines()[0]
        raise DataError(
            f"{members.path}, {member}: this is not a matrix of KuaiRec ({first}); fetch the archive again"
        ) from None
    users, items, values = (table.column(key).to_numpy() for key in kinds)
    return users, items, values


def _captions(members: Members) -> dict[object, str] | None:
    if not members.has(CAPTIONS):
        return None
    rows = csv.DictReader(members.lines(CAPTIONS, "utf-8-sig", errors="replace"))
    found = ((row.get("video_id") or "", row.get("caption") or "") for row in rows)
    return {int(item): " ".join(caption.split()) for item, caption in found if item.isdecimal()}
