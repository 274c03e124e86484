"""`claim`: one file with every number of a table and the records behind it, which others can check with `verify`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

import mfbench
from mfbench.backends.registry import PEERS
from mfbench.commands.suites.definition import Member, Suite, SuiteSource, is_suite, load_suite
from mfbench.commands.suites.suite import table_of
from mfbench.core.errors import InputError, RecordError
from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.data.sealed import openings_of
from mfbench.report.suites.cells import Cell
from mfbench.runs.record_files import study_records
from mfbench.runs.records import Record, seal_of
from mfbench.search.outcome import Swept
from mfbench.spec import load_spec, study_key
from mfbench.spec.experiment import Name
from mfbench.spec.faults import fault
from mfbench.spec.fields import Strict


class ClaimedCell(Strict):
    """A cell of the table: a backend on a data set.

    trials: how many the search had, over all seeds. test_rmse, low, high, first_on_valid, indistinguishable, why: as in the
    table. records: of its final runs or floors as they were written, each with its seal, spec, code and versions; one for each
    seed, fold and repeat.
    """

    dataset: str
    backend: str
    trials: int
    test_rmse: float | None
    test_rmse_low: float | None
    test_rmse_high: float | None
    first_on_valid: bool
    indistinguishable: bool | None
    why: str | None
    records: list[dict[str, Any]]


class Claim(Strict):
    """A table of results as a file.

    text: the suite or spec, as YAML. openings: by the digest of a test part, each line of the log of who had opened it in the
    project that makes the claim. seal: sha256 over all else; it shows damage, and is no signature.
    """

    claim: Literal[1] = 1
    mfbench: str
    name: Name
    text: str
    cells: list[ClaimedCell]
    openings: dict[str, list[dict[str, Any]]]
    seal: str | None = None

    @staticmethod
    def of_file(file: str | Path) -> Claim:
        """Read a claim; InputError if the file is none, RecordError if it was changed after it was written."""
        try:
            tree = json.loads(Path(file).read_text(encoding="utf-8"))
            found = Claim.model_validate(tree)
        except OSError as error:
            raise InputError(f"{file}: the claim cannot be read ({error.strerror}); give the path of one") from None
        except ValidationError as error:
            where, says = fault(error).key, fault(error).says
            raise InputError(f"{file}: this is no claim ({where}: {says}); give a file that `mfbench claim` wrote") from None
        except (ValueError, RecursionError):
            raise InputError(f"{file}: this is no claim, as it is not JSON; give a file that `mfbench claim` wrote") from None
        if found.seal != seal_of(tree):
            raise RecordError(f"{file}: this claim was changed after it was written; get the original")
        return found


@dataclass(frozen=True, repr=False)
class ClaimResult:
    """A claim and the path of its file. warnings: what a reader of it might object to, a sentence each."""

    claim: Claim
    path: Path
    warnings: list[str]

    def __repr__(self) -> str:
        return f"<claim {self.claim.name}: {len(self.claim.cells)} cells, {self.path}>"

    def summary(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        cells = [cell.model_dump(exclude={"records"}) for cell in self.claim.cells]
        openings = {digest: len(lines) for digest, lines in self.claim.openings.items()}
        return {"name": self.claim.name, "cells": cells, "openings": openings, "warnings": self.warnings,
                "claim_path": str(self.path)}  # fmt: skip


def claim(source: SuiteSource, changes: Iterable[str] = (), file: str | Path | None = None) -> ClaimResult:
    """Write the results of a suite or a sweep that is finished as one file, for others to check with `mfbench.verify`.

    source: a suite or a spec, as a YAML file or a mapping. changes: those with which it ran. file: its path, by default
    `results/<name>/claim.json`. Nothing is trained. InputError if a sweep has no final run yet.

    >>> import mfbench
    >>> found = mfbench.claim("experiments/suite-small.yaml")  # doctest: +SKIP
    >>> mfbench.verify(found.path, sample=5).sentence  # doctest: +SKIP
    'suite-small: of 5 cells 5 to the bit; 20 more cells were not in the sample'
    """
    if is_suite(source):
        suite = load_suite(source, changes)
    else:
        spec = load_spec(source, changes)
        suite = Suite(spec.name, [Member(spec.name, None, spec)], spec.model_dump_json(exclude_unset=True))
    sweeps: dict[str, Swept | None] = {}
    for member in suite.members:
        found = Swept.of(list(study_records(study_key(member.spec))))
        if found is None or not found.finals:
            advice = "suite" if is_suite(source) else "sweep"
            raise InputError(f"{member.spec.name}: this sweep has no final run yet; finish it with `mfbench {advice}` first")
        sweeps[member.spec.name] = found
    cells = [_claimed(cell, [swept for swept in sweeps.values() if swept]) for cell in table_of(suite, sweeps).cells]
    records = [Record.model_validate(tree) for cell in cells for tree in cell.records]
    digests = dict.fromkeys(record.data.test_digest for record in records if record.data.test_digest)
    made = Claim(
        mfbench=mfbench.__version__, name=suite.name, text=suite.text, cells=cells,
        openings={digest: openings_of(digest) for digest in digests},
    )  # fmt: skip
    tree = made.model_dump(mode="json")
    tree["seal"] = seal_of(tree)
    path = Path(file) if file else RESULTS / suite.name / "claim.json"
    write_whole(path, json.dumps(tree, indent=1).encode() + b"\n")
    return ClaimResult(Claim.model_validate(tree), path, list(_warnings(made, records)))


def _claimed(cell: Cell, sweeps: Sequence[Swept]) -> ClaimedCell:
    by = {swept.study: swept for swept in sweeps}
    records = [
        one
        for mean in cell.records
        for one in by[mean.study].records
        if (one.backend, one.stage, one.number) == (mean.backend, mean.stage, mean.number)
    ]
    kept = cell.as_dict()
    return ClaimedCell(
        trials=sum(len(by[mean.study].trials.get(cell.backend, ())) for mean in cell.records),
        records=[json.loads(one.as_json()) for one in records],
        **{name: kept[name] for name in ClaimedCell.model_fields if name not in ("trials", "records")},
    )


def _warnings(made: Claim, records: Sequence[Record]) -> Iterable[str]:
    dirty = [record for record in records if record.environment.git_dirty]
    if dirty:
        yield (
            f"{len(dirty)} of {len(records)} runs were made with changes of the code that are not committed, so nobody else"
            " has that code; commit them and make the runs again"
        )
    own = sorted({record.backend for record in records if record.backend_digest} - PEERS.keys())
    if own:
        yield f"{', '.join(own)}: code of your own, of which the claim has only a digest; send it along"
    opened = [digest for digest, lines in made.openings.items() if len({line.get("study") for line in lines}) > 1]
    if opened:
        yield (
            f"{len(opened)} of {len(made.openings)} test parts had been opened by more than one study, and the claim says so:"
            " repeated use of a test part makes its scores optimistic"
        )
