"""Prepared data sets: parsed or generated once, then cached in `<data home>/<name>/`.

`arrays.npz` holds the arrays, without pickle; `card.json` describes them and names their source. Both are written
completely or not at all; a folder that is damaged, or was made from another source, is rebuilt.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mfbench.core.arrays import Positions
from mfbench.core.errors import DataError, WorkError
from mfbench.core.files import DamagedError, file_digest, read_arrays, sole_writer
from mfbench.core.paths import data_home
from mfbench.data.dataset import Dataset, Truth
from mfbench.matrix.ratings import Ratings

VERSION = 1  # of the generator, the parsers and the file format: a new one rebuilds every data set

CARD, ARRAYS = "card.json", "arrays.npz"


def read_or_make(
    name: str, source: dict[str, Any], make: Callable[[], Dataset], more: Callable[[], dict[str, Any]] = dict
) -> Dataset:
    """The data set cached under `name` if it was made from `source`; otherwise the result of make(), after caching it.

    more: what the card is to tell besides, called after make.
    """
    folder = data_home() / name
    dataset = _read(folder, source)
    if dataset is not None:
        return dataset
    with sole_writer(name):
        dataset = _read(folder, source)  # another process may have made it in the meantime
        if dataset is None:
            _refuse_strangers(folder)
            dataset = make()
            _write(folder, dataset, source, more())
        return dataset


def card(name: str) -> dict[str, Any] | None:
    """The card of a prepared data set (its `summary`, version and source), or None if it has none."""
    try:
        content = json.loads((data_home() / name / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _read(folder: Path, source: dict[str, Any]) -> Dataset | None:
    """The data set in the folder, or None if it is missing, damaged, or made from another source."""
    known = card(folder.name)
    if known is None or known.get("version") != VERSION or known.get("source") != source:
        return None
    try:
        dataset = _from_arrays(folder.name, read_arrays(folder / ARRAYS, known.get("arrays_digest")))
    except (OSError, DamagedError, KeyError, TypeError):
        return None
    # Cards of before have no digest of the file, and that of the ratings does not cover the other arrays.
    return dataset if _fits(dataset) and dataset.digest == known.get("digest") else None


def _fits(dataset: Dataset) -> bool:
    """Whether all arrays have the dtype, shape and range that they must have, since compiled code indexes with them."""
    r, n = dataset.ratings, dataset.ratings.values.size
    wanted = [
        (r.users, "i", n), (r.items, "i", n), (r.values, "f", n), (dataset.user_ids, "iU", r.n_users),
        (dataset.item_ids, "iU", r.n_items), *((mask, "b", n) for mask in dataset.folds.values()),
    ]  # fmt: skip
    wanted += [(dataset.titles, "U", r.n_items)] if dataset.titles is not None else []
    wanted += [(dataset.timestamps, "i", n)] if dataset.timestamps is not None else []
    wanted += [(one, "f", n) for one in (dataset.truth.mean, dataset.truth.median)] if dataset.truth is not None else []
    if n == 0 or any(array.dtype.kind not in kinds or array.shape != (size,) for array, kinds, size in wanted):
        return False
    indices = ((r.users, r.n_users), (r.items, r.n_items))
    return all(one.dtype == np.int32 and one.min() >= 0 and one.max() < size for one, size in indices)


def summary(dataset: Dataset) -> dict[str, Any]:
    """The size, range and contents of a data set, for `--json` and its card."""
    values = dataset.ratings.values
    return {
        "name": dataset.name,
        "digest": dataset.digest,
        "ratings": len(dataset.ratings),
        "users": dataset.ratings.n_users,
        "items": dataset.ratings.n_items,
        "lowest": float(values.min()),
        "highest": float(values.max()),
        "mean": dataset.ratings.mean(),
        "duplicates": dataset.merged,
        "first_day": _day(dataset.timestamps, np.min),
        "last_day": _day(dataset.timestamps, np.max),
        "titles": dataset.titles is not None,
        "timestamps": dataset.timestamps is not None,
        "truth": dataset.truth is not None,
        "folds": list(dataset.folds),
    }


def sentence(found: dict[str, Any]) -> str:
    """The `summary` of a data set as one line for people."""
    days = (found.get("first_day"), found.get("last_day"))
    says = [
        f"{found['name']}: {found['ratings']:,} ratings by {found['users']:,} users of {found['items']:,} items",
        f"from {found['lowest']:g} to {found['highest']:g}",
        f"duplicates merged: {found['duplicates']:,}" if found.get("duplicates") else "no duplicates",
        f"{days[0]} to {days[1]}" if all(days) else "no timestamps",
    ]
    return ", ".join(says)


def _day(timestamps: Positions | None, of: Callable[[Positions], Any]) -> str | None:
    return None if timestamps is None else str(np.datetime64(int(of(timestamps)), "s").astype("datetime64[D]"))


def _write(folder: Path, dataset: Dataset, source: dict[str, Any], more: dict[str, Any]) -> None:
    temporary = folder.with_name(f".{folder.name}.new")  # a fixed name will do: the caller holds the lock
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        with (temporary / ARRAYS).open("wb") as file:
            np.savez(file, allow_pickle=False, **_to_arrays(dataset))
            file.flush()
            os.fsync(file.fileno())
        content = {"version": VERSION, **summary(dataset), "source": source, **more}
        content["arrays_digest"] = file_digest(temporary / ARRAYS)
        with (temporary / CARD).open("w", encoding="utf-8") as text:
            text.write(json.dumps(content, indent=1) + "\n")
            text.flush()
            os.fsync(text.fileno())
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise WorkError(
            f"{folder}: the prepared data set cannot be written ({error.strerror}); check free space and permissions"
        ) from None


def _refuse_strangers(folder: Path) -> None:
    """DataError if the folder holds files that mfbench did not write, which would be deleted."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: a file is in the place of the folder for the prepared data set; move it away")
    strangers = sorted(p.name for p in folder.glob("*") if p.name not in (CARD, ARRAYS))
    if strangers:
        raise DataError(
            f"{folder}: this folder is for the prepared data set, but it contains {strangers[0]}, which mfbench did not "
            "write; move it away, or set MFBENCH_DATA to another folder"
        )


def _to_arrays(dataset: Dataset) -> dict[str, Any]:
    r = dataset.ratings
    arrays = {
        "users": r.users, "items": r.items, "values": r.values,
        "user_ids": dataset.user_ids, "item_ids": dataset.item_ids,
    }  # fmt: skip
    if dataset.titles is not None:
        arrays["titles"] = dataset.titles
    if dataset.timestamps is not None:
        arrays["timestamps"] = dataset.timestamps
    if dataset.truth is not None:
        arrays |= {"truth_mean": dataset.truth.mean, "truth_median": dataset.truth.median}
    return arrays | {f"fold_{name}": mask for name, mask in dataset.folds.items()}


def _from_arrays(name: str, arrays: dict[str, Any]) -> Dataset:
    user_ids, item_ids = arrays["user_ids"], arrays["item_ids"]
    ratings = Ratings(arrays["users"], arrays["items"], arrays["values"], len(user_ids), len(item_ids))
    return Dataset(
        name,
        ratings,
        user_ids,
        item_ids,
        titles=arrays.get("titles"),
        timestamps=arrays.get("timestamps"),
        folds={key.removeprefix("fold_"): mask for key, mask in arrays.items() if key.startswith("fold_")},
        truth=Truth(arrays["truth_mean"], arrays["truth_median"]) if "truth_mean" in arrays else None,
    )
