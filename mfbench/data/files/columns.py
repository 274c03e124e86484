"""The columns of a user's table as arrays.

Each function takes an Arrow column (strings from text, any type from Parquet) and `where(k)`, which locates the k-th
row for a message, and raises DataError for the first invalid row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mfbench.core.arrays import Array, Floats64, Positions
from mfbench.core.errors import DataError

MISSING = ["", "nan", "NaN", "NA", "null", "NULL", "None"]

Where = Callable[[int], str]


def check_text(columns: Mapping[str, Any], where: Where) -> None:
    """DataError for the first text in one of these columns, by what they hold, that is not UTF-8; Arrow takes any bytes."""
    import pyarrow as pa  # here, as below, for the start-up time

    for what, column in columns.items():
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            for k, raw in enumerate(column.cast(pa.large_binary()).to_pylist()):
                if raw is not None and not _is_utf8(raw):
                    raise DataError(f"{where(k)}: the {what} is not UTF-8 text; write the file with text in UTF-8") from None
            raise


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def ids(column: Any, what: str, where: Where) -> Array:
    """int64 [n] if every id is a whole number (in text plainly written: 007 is not one), else str [n]."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    missing = column.is_null()
    if text:
        missing = pc.or_kleene(missing, pc.is_in(pc.utf8_trim_whitespace(column), value_set=pa.array(MISSING, kind)))
    elif pa.types.is_floating(kind):
        missing = column.is_null(nan_is_null=True)
    if (k := _first(missing)) is not None:
        raise DataError(f"{where(k)}: the {what} is missing; each row needs one")
    try:
        whole = pc.cast(column, pa.int64())
        if text and not pc.all(pc.equal(pc.cast(whole, kind), column)).as_py():
            whole = None  # 007 is not 7
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        whole = None
    if whole is not None and not pa.types.is_boolean(kind):
        return np.asarray(whole.to_numpy())
    if not text:
        raise DataError(f"{where(0)}: the {what} column holds {kind}; ids must be whole numbers or text")
    return np.asarray(column.to_pylist(), dtype=np.str_)


def numbers(column: Any, where: Where) -> Floats64:
    """float64 [n]: the ratings, not checked for being finite."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if (k := _first(column.is_null())) is not None:
        raise DataError(f"{where(k)}: the rating is missing; each row needs one")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = pc.utf8_trim_whitespace(column)
        try:
            return np.asarray(pc.cast(column, pa.float64()).to_numpy())
        except pa.ArrowInvalid:
            for k, text in enumerate(column.to_pylist()):
                if not is_number(text):
                    what = f"is {text!r}" if text else "is missing"
                    raise DataError(f"{where(k)}: the rating {what}; ratings must be numbers, such as 3.5") from None
            raise
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise DataError(f"{where(0)}: the rating column holds {kind}; ratings must be numbers")
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy())


def is_number(text: str) -> bool:
    """Whether a rating can be written so."""
    import pyarrow as pa

    try:
        pa.scalar(text).cast(pa.float64())
    except (pa.ArrowInvalid, UnicodeEncodeError):  # the latter for bytes that are not UTF-8
        return False
    return True


def seconds(column: Any, where: Where) -> Positions:
    """int64 [n]: the timestamps, seconds since 1970."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_timestamp(kind):
        column = pc.cast(column, pa.timestamp("s", kind.tz), safe=False)
    try:
        whole = pc.cast(column, pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        whole = None
    if whole is None or (k := _first(whole.is_null())) is not None:
        texts = column.to_pylist()
        k = next((n for n, text in enumerate(texts) if not _is_whole(text)), 0)
        raise DataError(f"{where(k)}: the timestamp is {texts[k]!r}; timestamps must be whole seconds since 1970")
    return np.asarray(whole.to_numpy())


def _is_whole(value: object) -> bool:
    return value is not None and str(value).removeprefix("-").isdecimal()


def _first(mask: Any) -> int | None:
    """The position of the first True in an Arrow column of bools, or None."""
    import pyarrow.compute as pc

    k = pc.index(mask, True).as_py()
    return None if k < 0 else k
