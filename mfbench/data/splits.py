"""Prepared splits: the train, valid and test parts of a data set, each in its own file; the test part is sealed."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from mfbench.core.arrays import Array, Positions
from mfbench.core.errors import DataError
from mfbench.core.files import DamagedError, file_digest, read_arrays, write_model, write_whole
from mfbench.core.paths import data_home
from mfbench.data.catalogue import load
from mfbench.data.dataset import Dataset
from mfbench.data.partition import positions_of_parts
from mfbench.data.prepared import sentence, summary
from mfbench.data.sealed import sealed_path
from mfbench.matrix.metrics import rmse_and_mae
from mfbench.matrix.ratings import Ratings
from mfbench.spec import Spec

APART = 0.2
"""How far the predictions of two tuned models typically lie apart, in standard deviations of the ratings."""


class DataDescription(BaseModel):
    """What a record says of its data; the fields are as in `Parts`, and n_train, n_valid, n_test the ratings of each part."""

    model_config = ConfigDict(frozen=True)

    name: str
    data_digest: str
    split_digest: str
    test_digest: str | None = None
    n_users: int
    n_items: int
    n_train: int
    n_valid: int | None = None
    n_test: int | None = None
    n_users_in: dict[str, int] = {}
    n_unknown: dict[str, dict[str, int]] = {}
    oracle: dict[str, float] = {}
    deviation: float | None = None

    @property
    def resolution(self) -> float | None:
        """The smallest difference in RMSE that the test part can resolve between two models, at 95 %; None if unknown.

        1.96 · 0.2 s / √n_test, s the standard deviation of the ratings. The difference of two RMSEs is about the mean of
        (e² - e'²) / 2 RMSE, and its deviation about that of the models' predictions from each other. Between two tuned models
        that is a fifth of s, within a factor of 2, on all data sets tried (`results/search-quality`).
        """
        if self.deviation is None or not self.n_test:
            return None
        return 1.96 * APART * self.deviation / math.sqrt(self.n_test)

    @property
    def too_small(self) -> str | None:
        """Which differences of test RMSE between two models the test part cannot resolve, in words; None if unknown."""
        if self.resolution is None:
            return None
        return f"differences in test RMSE below about {self.resolution:.2g} are too small for this test part to resolve"

    def oracle_of(self, part: str) -> dict[str, float] | None:
        """The RMSE and MAE that no model can beat on that part, by metric name, where the data knows them."""
        return {name: value for name, value in self.oracle.items() if name.startswith(f"{part}_")} or None


@dataclass(frozen=True)
class Parts:
    """A prepared split: a folder with one file per part, and the facts that can be read without opening any of them.

    test_digest: over the cells and values of the test part alone, None if there is none. n: the number of ratings by part.
    n_users_in: the number of users with a rating, by part. n_unknown: for valid and test, the number of ratings whose user
    or item has no rating in train. highest: the highest rating in train and valid. oracle: for planted data the RMSE and
    MAE by part that no model can beat, else empty. deviation: the standard deviation of the ratings in train. files: sha256
    of each file by its path in the folder, checked whenever one is read: compiled code indexes with what is in them. says:
    what was read, in one line, where the parts come from `parts_of`.
    """

    folder: Path
    name: str
    data_digest: str
    split_digest: str
    test_digest: str | None
    n_users: int
    n_items: int
    n: dict[str, int]
    n_users_in: dict[str, int]
    n_unknown: dict[str, dict[str, int]]
    highest: float
    oracle: dict[str, float]
    deviation: float
    files: dict[str, str]
    says: str = ""

    @property
    def train(self) -> Ratings:
        """The train part, read from disk each time: training reorders it and needs the memory of the original."""
        return self._read(self.folder / "train.npz")

    @cached_property
    def valid(self) -> Ratings | None:
        """The valid part, or None if the split has none."""
        return self._read(self.folder / "valid.npz") if "valid" in self.n else None

    def ids(self) -> dict[str, Array]:
        """Raw ids (`user_ids` [n_users], `item_ids` [n_items]) and, if the data has them, `titles` str [n_items]."""
        return self._arrays(self.folder / "ids.npz")

    def described(self) -> DataDescription:
        """What a record says of its data."""
        return DataDescription.model_validate({**vars(self), **{f"n_{part}": count for part, count in self.n.items()}})

    def check(self) -> None:
        """DataError if a file of the split is missing or is not the one that was written; the sealed one may be kept away."""
        for name, digest in self.files.items():
            path = self.folder / name
            try:
                intact = file_digest(path) == digest
            except OSError:
                intact = path == sealed_path(self.folder) and not path.exists()
            if not intact:
                raise DataError(f"{path}: this file is missing or damaged; delete {self.folder} to have it rebuilt")

    def _read(self, path: Path) -> Ratings:
        arrays = self._arrays(path)
        return Ratings(arrays["users"], arrays["items"], arrays["values"], self.n_users, self.n_items)

    def _arrays(self, path: Path) -> dict[str, Array]:
        try:
            return read_arrays(path, self.files[path.relative_to(self.folder).as_posix()])
        except (OSError, DamagedError) as error:
            raise DataError(f"{path}: this file is damaged ({error}); delete {self.folder} to have it rebuilt") from None


def parts_of(spec: Spec) -> Parts:
    """Load the data of a spec, split it, and write its parts under `$MFBENCH_DATA/splits/`.

    Existing parts of the same data and split are reused, unless a file of them is damaged; then all are written again.
    """
    dataset = load(spec.data)
    positions = positions_of_parts(dataset, spec.split)
    digest = _split_digest(dataset, positions)
    folder = data_home() / "splits" / digest[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        try:
            parts = parts_in(folder)
            parts.check()
        except DataError:
            _write_parts(folder, dataset, positions, digest)
            parts = parts_in(folder)
    return replace(parts, says=sentence(summary(dataset)))


def parts_in(folder: Path) -> Parts:
    """Read the prepared split in a folder; DataError if its card is missing or damaged."""
    card = folder / "card.json"
    try:
        tree = json.loads(card.read_text(encoding="utf-8"))
        if tree.pop("seal") != _seal(tree) or not tree["split_digest"].startswith(folder.name):
            raise ValueError("not the card that was written for this folder")
        return Parts(folder=folder, **tree)
    except (OSError, LookupError, AttributeError, TypeError, ValueError):  # also a card of another version
        raise DataError(f"{card}: this card is missing or damaged; delete {folder} to have it rebuilt") from None


def _seal(card: dict[str, Any]) -> str:
    """sha256 over the content of a card."""
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def _split_digest(dataset: Dataset, positions: dict[str, Positions]) -> str:
    """sha256 over the digest of the data and the cells of each part; the order of rows in a file has no effect."""
    h = hashlib.sha256(dataset.digest.encode())
    for part, rows in positions.items():
        h.update(f"{part} {len(rows)}\n".encode())
        h.update(dataset.ratings.users[rows].astype("<i4").tobytes())
        h.update(dataset.ratings.items[rows].astype("<i4").tobytes())
    return h.hexdigest()


def _test_digest(test: Ratings | None) -> str | None:
    """sha256 over the cells and values of the test part, however the other ratings are split."""
    if test is None:
        return None
    h = hashlib.sha256(test.users.astype("<i4").tobytes())
    h.update(test.items.astype("<i4").tobytes())
    h.update(test.values.astype("<f8").tobytes())
    return h.hexdigest()


def _write_parts(folder: Path, dataset: Dataset, positions: dict[str, Positions], digest: str) -> None:
    parts = {name: dataset.ratings.take(rows) for name, rows in positions.items()}
    ids = {"user_ids": dataset.user_ids, "item_ids": dataset.item_ids}
    contents = {folder / "ids.npz": ids if dataset.titles is None else {**ids, "titles": dataset.titles}}
    for name, part in parts.items():
        path = sealed_path(folder) if name == "test" else folder / f"{name}.npz"
        contents[path] = {"users": part.users, "items": part.items, "values": part.values}
    for path, arrays in contents.items():
        write_model(path, arrays)
    n_unknown, oracle = {}, {}
    for name, part in parts.items():
        if name != "train":
            user, item = part.unknown_to(parts["train"])
            n_unknown[name] = {"user": int(user.sum()), "item": int(item.sum()), "either": int((user | item).sum())}
        if dataset.truth is not None:
            rows = positions[name]
            oracle[f"{name}_rmse"] = rmse_and_mae(part.values, dataset.truth.mean[rows])[0]
            oracle[f"{name}_mae"] = rmse_and_mae(part.values, dataset.truth.median[rows])[1]
    described = Parts(
        folder=folder,
        name=dataset.name,
        data_digest=dataset.digest,
        split_digest=digest,
        test_digest=_test_digest(parts.get("test")),
        n_users=dataset.ratings.n_users,
        n_items=dataset.ratings.n_items,
        n={name: len(part) for name, part in parts.items()},
        n_users_in={name: len(np.unique(part.users)) for name, part in parts.items()},
        n_unknown=n_unknown,
        highest=max(float(part.values.max()) for name, part in parts.items() if name != "test" and len(part)),
        oracle=oracle,
        deviation=float(parts["train"].values.std(dtype=np.float64)),
        files={path.relative_to(folder).as_posix(): file_digest(path) for path in contents},
    )
    card = asdict(described)
    del card["folder"], card["says"]
    write_whole(folder / "card.json", json.dumps({**card, "seal": _seal(card)}, indent=1).encode())
