"""DataFrames as data: kept as CSV under `<data home>/frames/`, named by the digest of their content.

So a record names a file, as for any other data of the user's, and its run can be made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from mfbench.core.errors import DataError, SpecError
from mfbench.core.files import write_whole
from mfbench.core.paths import data_home
from mfbench.data.files.columns import ids, numbers, seconds
from mfbench.spec import COLUMNS, SpecSource

FOLDER = "frames"


def with_frames_kept(spec: Any, changes: Iterable[str], data: Any) -> tuple[SpecSource, list[str]]:
    """A spec and its changes for `load_spec`, with the path of a kept file in the place of each DataFrame.

    spec: as `load_spec` takes it, but `data` or `data.file` may be a DataFrame. data: if given, the data section instead of
    the spec's, or a DataFrame. DataError if a DataFrame is not a table of ratings.
    """
    if isinstance(spec, Mapping):
        given = spec.get("data") if data is None else data
        return ({**spec, "data": _section(given)} if given is not None else spec), list(changes)
    if data is None:
        return spec, list(changes)
    return spec, [f"data={json.dumps(_section(data))}", *changes]


def is_frame(data: Any) -> bool:
    """Whether this is a DataFrame, of pandas or with the same columns."""
    return hasattr(data, "columns") and hasattr(data, "shape")


def keep(frame: Any, names: Mapping[str, Any] | None = None) -> str:
    """The path of the kept file of a DataFrame, with its ratings in the columns user, item and rating, rows in their order.

    names: the columns of the DataFrame, by key, where they differ. A column `timestamp`, of whole seconds or datetimes, is
    kept too. The same ratings give the same file, which is then not written again.
    """
    import pyarrow as pa  # here for the start-up time
    import pyarrow.csv

    named, here = {key: (names or {}).get(key) or key for key in COLUMNS}, list(frame.columns)
    if (names or {}).get("timestamp") is None and "timestamp" not in here:
        del named["timestamp"]
    for key, name in named.items():
        if here.count(name) != 1:
            raise DataError(
                f"data: the DataFrame has {here.count(name) or 'no'} column{'s' * (name in here)} {name}, only"
                f" {', '.join(map(str, here[:20]))}; rename them to user, item and rating, or give data as"
                f' {{"file": frame, "{key}": ...}}'
            )

    def where(k: int) -> str:
        return f"data: row {k} of the DataFrame, counted from 0"

    columns = {key: _arrow(frame[name], name) for key, name in named.items()}
    table = {
        "user": ids(columns["user"], "user", where),
        "item": ids(columns["item"], "item", where),
        "rating": numbers(columns["rating"], where),
    }
    if "timestamp" in columns:
        table["timestamp"] = seconds(columns["timestamp"], where)
    content = pa.BufferOutputStream()
    pyarrow.csv.write_csv(pa.table(table), content)
    written = content.getvalue().to_pybytes()
    path = data_home() / FOLDER / f"{hashlib.sha256(written).hexdigest()[:16]}.csv"
    if not path.exists():
        write_whole(path, written)
    return str(path)


def _section(data: Any) -> Any:
    """The data section of a spec, with a kept file in the place of a DataFrame."""
    names: dict[str, Any] = {}
    if not is_frame(data):
        if not isinstance(data, Mapping) or not is_frame(data.get("file")):
            return data
        names, data = {key: value for key, value in data.items() if key != "file"}, data["file"]
    if reading := [key for key in ("delimiter", "header", "wide") if key in names]:
        raise SpecError(f"data.{reading[0]}: this key is for text files; remove it, since file is a DataFrame")
    others = {key: value for key, value in names.items() if key not in COLUMNS}
    timed = names.get("timestamp") is not None or "timestamp" in list(data.columns)
    return {"file": keep(data, names), **({"timestamp": "timestamp"} if timed else {}), **others}


def _arrow(series: Any, name: object) -> Any:
    import pyarrow as pa

    try:
        return pa.chunked_array([pa.array(series, from_pandas=True)] if not hasattr(series, "to_arrow") else series.to_arrow())
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        first = str(error).partition("\n")[0]
        raise DataError(
            f"data: the column {name} of the DataFrame holds values of several types ({first}); give one"
        ) from None
