"""Write tables of ratings, good and bad, read them as `data.file` or as a DataFrame, and see that each is read or refused.

    python benchmarks/fuzz_tables.py [--count 20000] [--seed 0] [--json]

A table is delimited text, a matrix, JSON lines, Parquet or a DataFrame. The seed draws its rows, the hostile values in them,
damage to its bytes, its name, and the keys that say how to read it. A table without damage must give the ratings in it.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzzing import Verdict, judged
from fuzzing import main as fuzz

from mfbench.data.catalogue import load
from mfbench.data.dataset import Dataset
from mfbench.data.files.frames import with_frames_kept
from mfbench.spec import load_spec

Row = list[Any]
HOSTILE: list[Any] = [
    "", " ", "x", "nan", "NA", "null", "inf", "1e999", "-1e308", "3,5", "0x10", "007", "+1", "1_000", "٣", "½", "1e-400",
    "=1+1",
    "a\0b", "\x1b[31m", "a\nb", "a\r\nb", "\x1f", "\u2028", "\u202eabc", "\ufeff1", "\udcff", '"', '""', "'", "\\", "a,b",
    "::", "\t",
    "é" * 400, "\x07" * 900, "\n" * 300, "x" * 140_000, 2**31, 2**63, 2**64, 10**40, -(2**63), 0.5, 1e308, float("nan"),
    float("inf"),
    None, True, False, [], [1], {}, {"a": 1}, {"": [[]]},
]  # fmt: skip
NAMES = [
    "ratings.csv",
    "ratings.tsv",
    "r.txt",
    "r",
    "r.jsonl",
    "r.csv.gz",
    "r.parquet",
    "a\nb.csv",
    "\x1b[31m.csv",
    "é" * 60,
    "\u202e.csv",
    "=1.csv",
]
COLUMNS: list[Any] = [
    "user",
    "item",
    "rating",
    "timestamp",
    "",
    " ",
    "x",
    "a\nb",
    "\x1b[2J",
    "y" * 600,
    0,
    1,
    2,
    7,
    -1,
    2**40,
    None,
    True,
    1.5,
]
KEYS: dict[str, list[Any]] = {
    "delimiter": [",", ";", "\t", "|", "::", "blanks", "", "ab", "\n", '"', "\0", "é", "\x1b", " ", 3, "x" * 600],
    "header": [True, False, True, False, 1, "no", None],
    "wide": [{}, {"missing": 0}, {"ids": "first"}, {"skip": 1}, {"skip": 10**30}, {"missing": float("nan")}, {"ids": "x"},
    True, None],
    "duplicates": ["error", "last", "mean", "", 1],
    "timestamp": COLUMNS, "user": COLUMNS, "item": COLUMNS, "rating": COLUMNS,
}  # fmt: skip


# --- a table ---------------------------------------------------------------------------------------------------------


def drawn(rng: random.Random) -> tuple[list[str], list[Row]]:
    """The names of the columns, and rows with one rating for each pair of user and item."""
    n = rng.choice([1, 2, 5, 20, 60])
    form = rng.choice(["{}", "u {}", "é{}"])
    users = [form.format(k) for k in range(1 + n // 3)]
    pairs = rng.sample([(user, item) for user in users for item in range(7)], k=min(n, 7 * len(users)))
    timed = rng.random() < 0.3
    rows = [
        [user, item, rng.choice([1, 3.5, 5, 0.1]), *([10**9 + k] if timed else [])] for k, (user, item) in enumerate(pairs)
    ]
    return ["user", "item", "rating", *(["timestamp"] if timed else [])], rows


def made_hostile(rng: random.Random, names: list[str], rows: list[Row]) -> list[str]:
    """Put hostile values into the table; say what was done, in a few words."""
    says = []
    for _ in range(rng.choice([0, 0, 0, 1, 1, 5])):
        kind, k = rng.random(), rng.randrange(len(names))
        value = rng.choice(HOSTILE)
        if kind < 0.6:
            n = rng.randrange(len(rows))
            rows[n] = [value if j == k else old for j, old in enumerate(rows[n])]
            says.append(f"row {n} column {k} = {str(value)[:20]!r}")
        elif kind < 0.75:
            for row in rows:
                row[k:] = [value, *row[k + 1 :]]
            says.append(f"column {k} = {str(value)[:20]!r}")
        elif kind < 0.9:
            names[k] = str(rng.choice([*HOSTILE, *names]))
            says.append(f"name {k} = {names[k][:20]!r}")
        else:
            rows.append(list(rng.choice(rows)))
            says.append("a row twice")
    return says


def as_text(rng: random.Random, names: list[str], rows: list[Row]) -> bytes:
    """Delimited text."""
    delimiter = rng.choice([",", ",", ";", "\t", "|", "::", " "])
    header = [names] if rng.random() < 0.8 else []
    if rng.random() < 0.5 and delimiter != "::":
        out = io.StringIO()
        csv.writer(out, delimiter=delimiter, lineterminator=rng.choice(["\n", "\r\n"])).writerows([*header, *rows])
        text = out.getvalue()
    else:
        text = "\n".join(delimiter.join(map(str, row)) for row in [*header, *rows]) + rng.choice(["\n", "", "\n\n"])
    if "\udcff" in text:
        return text.encode(errors="surrogateescape")
    return text.encode(rng.choice(["utf-8"] * 8 + ["utf-8-sig", "utf-16"]))


def as_matrix(rng: random.Random, names: list[str], rows: list[Row]) -> bytes:
    """A matrix of the ratings, without or with ids."""
    width = rng.choice([1, 3, len(rows)])
    cells = [row[2] if len(row) > 2 else "" for row in rows]
    lines = [cells[k : k + width] for k in range(0, len(cells), width)]
    if rng.random() < 0.4:
        lines = [[row[0], *line] for row, line in zip(rows, lines, strict=False)]
    if rng.random() < 0.4:
        lines = [names * (1 + width // len(names)), *lines]
    return "\n".join(",".join(map(str, line)) for line in lines).encode(errors="surrogateescape")


def as_json_lines(rng: random.Random, names: list[str], rows: list[Row]) -> bytes:
    """JSON objects, one a line."""
    lines = [json.dumps(dict(zip(names, row, strict=False)), ensure_ascii=rng.random() < 0.5) for row in rows]
    return "\n".join(lines).encode(errors="surrogatepass")


def as_arrow(rng: random.Random, names: list[str], rows: list[Row]) -> pa.Table:
    """A table of Arrow's, each column in a type that is drawn, if its values fit, else as text."""
    types: list[Any] = [
        None, None, None, pa.int32(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.string(),
        pa.large_string(),
        pa.string_view(), pa.binary(), pa.large_binary(), pa.decimal128(12, 3), pa.bool_(), pa.timestamp("us"),
        pa.timestamp("s", "UTC"),
        pa.date32(), pa.duration("s"), pa.null(), pa.list_(pa.int64()), pa.struct([("a", pa.int64())]),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.binary()), pa.dictionary(pa.int32(), pa.int64()), pa.time64("us"), pa.int8(),
        pa.month_day_nano_interval(),
    ]  # fmt: skip
    columns = []
    for k in range(len(names)):
        values = [row[k] if k < len(row) else None for row in rows]
        kind = rng.choice(types)
        columns.append(_column(values, kind, bad=rng.random() < 0.3))
    return pa.Table.from_arrays(columns, names=[name.encode(errors="replace").decode() for name in names])


def _column(values: list[Any], kind: Any, bad: bool) -> Any:
    """These values in that type; bad: bytes that are not UTF-8 in a column of text or bytes."""
    if bad and kind is not None and (pa.types.is_binary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raw = pa.array([str(value).encode(errors="replace") + b"\xff" for value in values], pa.binary())
        return pa.Array.from_buffers(kind, len(raw), raw.buffers()) if pa.types.is_string(kind) else raw
    tried: list[Callable[[], Any]] = [
        lambda: (
            pa.array(values, kind)
            if kind is None or not pa.types.is_decimal(kind)
            else pa.array([Decimal(str(v)) for v in values], kind)
        ),
        lambda: pa.array([str(value) for value in values]).cast(kind or pa.string()),
        lambda: pa.array([None if value is None else int(value) for value in values], pa.int64()).cast(kind),
        lambda: pa.array([str(value).encode(errors="replace").decode() for value in values]),
    ]
    for one in tried:
        try:
            return one()
        except Exception:  # they do not fit
            continue
    raise AssertionError


def damaged(rng: random.Random, raw: bytes) -> tuple[str, bytes]:
    """The bytes damaged, and how."""
    how, at = (
        rng.choice(["cut", "flipped", "zeros", "inserted", "repeated", "junk", "a long field", "an open quote"]),
        rng.randrange(len(raw) + 1),
    )
    match how:
        case "cut":
            raw = raw[:at]
        case "flipped":
            content = bytearray(raw)
            for _ in range(rng.choice([1, 10])):
                content[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            raw = bytes(content)
        case "zeros":
            raw = raw[:at] + bytes(rng.choice([1, 20]))
        case "inserted":
            raw = (
                raw[:at]
                + rng.choice([b"\xff", b"\0", b"\r", b'"', b"\xef\xbb\xbf", b"\x1b[0m", b"{", b"\xed\xa0\x80"])
                + raw[at:]
            )
        case "repeated":
            raw = raw + raw[at:]
        case "junk":
            raw = rng.randbytes(rng.choice([1, 5, 300]))
        case "a long field":
            raw = raw[:at] + b"9" * 140_000 + raw[at:]
        case _:
            raw = raw[:at] + b'"' + raw[at:] + b"x\n" * 70_000
    return how, raw


# --- the attempt -----------------------------------------------------------------------------------------------------


def attempt(rng: random.Random, folder: Path) -> Verdict:
    """Write a table that is drawn, and read it."""
    os.environ["MFBENCH_DATA"] = str(folder / "data")
    names, rows = drawn(rng)
    clean = [tuple(row[:3]) for row in rows]
    says = made_hostile(rng, names, rows)
    forms = {"text": as_text, "text again": as_text, "a matrix": as_matrix, "JSON lines": as_json_lines}
    form = rng.choice([*forms, "Parquet", "a DataFrame"])
    keys = {key: rng.choice(KEYS[key]) for key in rng.sample(sorted(KEYS), k=rng.choice([0, 0, 0, 1, 2]))}
    if form == "a matrix" and rng.random() < 0.8:
        keys.setdefault("wide", rng.choice(KEYS["wide"]))
    file: Any
    if form == "a DataFrame":
        file = _frame(rng, names, rows)
        plain = False
    else:
        raw = forms[form](rng, names, rows) if form in forms else _parquet(as_arrow(rng, names, rows))
        plain = not says and not keys and form in ("text again", "JSON lines") and not raw.startswith(b"\xff\xfe")
        if rng.random() < 0.25 and raw:
            how, raw = damaged(rng, raw)
            says, plain = [*says, how], False
        if rng.random() < 0.1:
            raw = gzip.compress(raw)
            if rng.random() < 0.4:
                how, raw = damaged(rng, raw)
                says, plain = [*says, f"gzip {how}"], False
        file = rng.choice(NAMES[:4] if form == "text again" or rng.random() < 0.7 else NAMES)
        Path(file).write_bytes(raw)
    shown = f"{form} {file if isinstance(file, str) else ''!r} {keys}: {'; '.join(says)}"
    split = {"kind": "random", "valid": 0.1}
    found: list[Dataset] = []

    def read() -> None:
        tree = {"name": "t", "data": {**keys, "file": file}, "split": split}
        found.append(load(load_spec(*with_frames_kept(tree, (), None)).data))

    verdict = judged(read, shown)
    wrong = _wrong(found[0], clean if plain else None) if found else None
    return Verdict("wrong", wrong, shown) if wrong else verdict


def _parquet(table: pa.Table) -> bytes:
    out = pa.BufferOutputStream()
    try:
        pq.write_table(table, out)
    except Exception:  # a type that Parquet does not have
        return b"PAR1"
    return bytes(out.getvalue().to_pybytes())


def _frame(rng: random.Random, names: list[str], rows: list[Row]) -> Any:
    import pandas as pd

    filled = [row + [None] * (len(names) - len(row)) for row in rows]
    frame: Any = pd.DataFrame(filled, columns=pd.Index(names, dtype=object), dtype=object)
    kinds = ["category", "string", "float32", "Int64", "datetime64[ns]", "complex128", "timedelta64[ns]", "bool", "object"]
    kind: Any = rng.choice(kinds)
    k = rng.randrange(len(names))
    try:
        frame = frame.infer_objects()
        if rng.random() < 0.5:
            frame = pd.concat([frame.iloc[:, :k], frame.iloc[:, k].astype(kind), frame.iloc[:, k + 1 :]], axis=1)
    except Exception:  # its values do not fit
        pass
    return frame


def _wrong(dataset: Dataset, written: list[tuple[Any, ...]] | None) -> str | None:
    """What is wrong with the data set, also against the rows that were written, if these are known; else None."""
    r = dataset.ratings
    if not (
        len(r) and np.all(np.isfinite(r.values)) and len(r) == len(set(zip(r.users.tolist(), r.items.tolist(), strict=True)))
    ):
        return "not one finite rating for each pair"
    if r.users.max() >= len(dataset.user_ids) or r.items.max() >= len(dataset.item_ids):
        return "an index without an id"
    if written is None:
        return None
    read = zip(dataset.user_ids[r.users].tolist(), dataset.item_ids[r.items].tolist(), r.values.tolist(), strict=True)
    apart = [
        (one, other)
        for one, other in zip(read, written, strict=False)
        if [str(one[0]), str(one[1])] != [str(other[0]), str(other[1])] or not math.isclose(one[2], other[2], rel_tol=1e-6)
    ]
    return f"{apart[0][1]} was read as {apart[0][0]}" if apart or len(r) != len(written) else None


if __name__ == "__main__":
    fuzz(attempt, __file__, 20_000)
