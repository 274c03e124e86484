"""What was trained, in files beside the record: arrays by name, as npz and never pickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mfbench.errors import RecordError
from mfbench.ratings import Array
from mfbench.whole_files import whole_file


def model_path(record: Path) -> Path:
    """Where the arrays of a run's model stand."""
    return record.with_suffix(".npz")


def errors_path(record: Path) -> Path:
    """Where a run has what `evaluation.user_errors` says: of test, of a plain run of valid."""
    return record.with_suffix(".errors.npz")


def write_model(path: Path, arrays: Mapping[str, Array]) -> None:
    """Save named arrays as npz, whole or not at all; never pickled."""
    with whole_file(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_model_arrays(path: Path) -> dict[str, Array]:
    """The arrays of a model, by name, from the npz beside its record; RecordError where they are missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        raise RecordError(f"{path}: there is no such model; a trial keeps none, a run that completed has one") from None
    except Exception as error:  # of damaged files zipfile, zlib and numpy raise a dozen kinds
        said = "" if "pickle" in str(error) else f" ({error})"  # numpy's advice, to read it as pickle, is not ours
        raise RecordError(f"{path}: this model is no whole npz file{said}; remove it, and make the run again") from None
