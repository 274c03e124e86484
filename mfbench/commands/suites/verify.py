"""`verify`: the runs of a claim made again, and for each cell of its table how well they agree."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from pydantic import ValidationError
from rich.table import Table

from mfbench.commands.find import check_code, check_file
from mfbench.commands.reproduce import make_again
from mfbench.commands.suites.claim import Claim, ClaimedCell
from mfbench.core import tables
from mfbench.core.errors import InputError, MfbenchError, RecordError
from mfbench.core.randomness import generator
from mfbench.runs.progress import Watcher
from mfbench.runs.record_files import find_record
from mfbench.runs.records import Record
from mfbench.runs.repeats import averaged
from mfbench.search.progress_bar import ProgressBar

Verdict = Literal["to the bit", "within tolerance", "not reproduced", "not run"]
BEST_FIRST: tuple[Verdict, ...] = ("to the bit", "within tolerance", "not reproduced", "not run")


@dataclass(frozen=True)
class Checked:
    """A cell of a claim, and the worst verdict of its runs. here: its test RMSE here, None if unknown. says: why."""

    dataset: str
    backend: str
    claimed: float | None
    here: float | None
    verdict: Verdict
    says: str | None


@dataclass(frozen=True, repr=False)
class Verification:
    """What came of a claim. left_out: how many cells with a number are not in the sample."""

    claim: Claim
    cells: list[Checked]
    left_out: int

    def __repr__(self) -> str:
        return f"<verification of {self.sentence}>"

    @property
    def verified(self) -> bool:
        """Whether every cell that was made again agrees, to the bit or within the tolerance."""
        return all(one.verdict in ("to the bit", "within tolerance") for one in self.cells)

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        count = Counter(one.verdict for one in self.cells)
        found = ", ".join(f"{count[verdict]} {verdict}" for verdict in BEST_FIRST if count[verdict])
        left = f"; {self.left_out} more cells were not in the sample" if self.left_out else ""
        return f"{self.claim.name}: of {len(self.cells)} cells {found}{left}"

    def summary(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "name": self.claim.name,
            "verified": self.verified,
            "cells": [asdict(one) for one in self.cells],
            "left_out": self.left_out,
        }

    def drawn(self) -> Table:
        """The cells for a terminal."""
        body = [[one.dataset, one.backend, _shown(one.claimed), _shown(one.here), one.verdict] for one in self.cells]
        return tables.drawn(self.claim.name, ["data set", "backend", "claimed", "here", "verdict"], body)


def verify(file: str | Path, sample: int | None = None, seed: int = 0, trust: bool = False) -> Verification:
    """Make the runs of a claim again, and compare every number and the digest of their factors.

    sample: only so many cells, drawn with `seed`: one of your own, which its author could not know. trust: as in `reproduce`;
    without it, code of the author's and ratings outside this project are not touched, and such cells are not run. The searches
    are not made again. InputError if the file is no claim or has no cell with a number, RecordError if it was changed.
    """
    claim = Claim.of_file(file)
    numbered = [cell for cell in claim.cells if cell.test_rmse is not None or cell.records]
    if not numbered:
        raise InputError(f"{file}: no cell of this claim has a number; get one of a suite that is finished")
    if sample is not None and sample < 1:
        raise InputError(f"sample: input should be greater than or equal to 1, not {sample}")
    drawn = generator(seed, "sample").permutation(len(numbered))[: sample or len(numbered)]
    with ProgressBar() as bar:
        cells = [_checked(numbered[k], bar, trust) for k in sorted(drawn.tolist())]
    return Verification(claim, cells, len(numbered) - len(cells))


def _checked(cell: ClaimedCell, watcher: Watcher, trust: bool) -> Checked:
    def checked(verdict: Verdict, says: str | None, here: float | None = None) -> Checked:
        return Checked(cell.dataset, cell.backend, cell.test_rmse, here, verdict, says)

    try:
        records = [_record(tree, cell) for tree in cell.records]
        told = _rmse(records)
        if told != cell.test_rmse:
            return checked("not reproduced", f"the table says {cell.test_rmse}, but its records {told}")
        for record in records:
            check_code(record, trust)
            check_file(record, trust)
        made = [make_again(record, watcher) for record in records]
    except MfbenchError as error:
        return checked("not run", str(error))
    except Exception as error:  # a record that somebody sealed may hold anything, and must not cost the other cells
        return checked("not run", f"its record cannot be re-run ({type(error).__name__}: {error})")
    worst = max(made, key=lambda one: BEST_FIRST.index(_verdict(one.verdict)))
    here = _rmse([one.record for one in made if one.record])
    return checked(_verdict(worst.verdict), worst.cause and worst.sentence, here)


def _verdict(verdict: str) -> Verdict:
    return next((one for one in BEST_FIRST if one == verdict), "not run")


def _record(tree: dict[str, Any], cell: ClaimedCell) -> Record:
    """The record of a claim; the one here if it is the same, for what is of this project needs no `--trust`."""
    try:
        record = Record.of_file(json.dumps(tree).encode())
    except ValidationError:
        raise RecordError("one of its records is damaged; get the original claim") from None
    if not record.is_sealed:
        raise RecordError(f"{record.run_key}: this record was changed after it was written; get the original claim")
    if record.backend != cell.backend or record.stage not in ("final", "floor"):
        raise RecordError(f"{record.run_key}: this record is of another cell than {cell.backend} on {cell.dataset}")
    try:
        here = find_record(record)
    except RecordError:
        return record
    return here if here is not None and here.is_sealed and here.seal == record.seal else record


def _rmse(records: list[Record]) -> float | None:
    """The number of a cell: the mean over its seeds, which are studies, of the means over folds and repeats."""
    values = [one.test_rmse for one in averaged(records)]
    return fmean(one for one in values if one is not None) if values and None not in values else None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.6f}"
