"""Whether a study of thousands of trials stays usable: what a trial costs at its end, and what its results cost.

    python benchmarks/thousand_trials.py [--trials 2000] [--folder DIR]

One sweep of two epochs of planted-10k on `numba` with one worker, so that nearly all its time is the search itself. Measured
from outside: milliseconds from the end of a trial to the end of the next, in the first and the last tenth of the trials; then
the wall seconds, CPU seconds and peak memory of the same command again, of `mfbench compare` and of `mfbench report`; and the
cost of one proposal of TPE itself, given all trials or those that it is given (see `RECALLED` in `search/sampling`). Prints a
table and writes it to results/thousand-trials/. `--folder` keeps the study, and goes on with one that is there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.core.tables import markdown
from mfbench.runs.record_files import read_record
from mfbench.runs.records import Record
from mfbench.search.sampling.finished import Finished
from mfbench.search.sampling.proposals import RECALLED, propose
from mfbench.spec import load_spec
from mfbench.tracking.store import FIRM_SETTINGS

SPEC: dict[str, Any] = {
    "name": "thousands",
    "data": {"dataset": "planted-10k"},
    "split": {"kind": "random", "valid": 0.1, "test": 0.1, "seed": 7},
    "model": {"epochs": 2, "center": True, "bias": True, "init": {"normal": 0.1}},
    "sweep": {
        "batch": 8,
        "pruner": "none",
        "backends": ["numba"],
        "space": {
            "K": {"int": [4, 64], "log": True},
            "alpha": {"float": [0.0005, 0.05], "log": True},
            "beta": {"float": [0.001, 0.5], "log": True},
        },
    },
}
SWEEP, COMPARE, REPORT = ["sweep", "spec.yaml", "--json"], ["compare", "spec.yaml"], ["report", "spec.yaml"]


def measured(words: Sequence[str], folder: Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak MiB of one command of mfbench."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "mfbench", *words], cwd=folder, stdout=subprocess.DEVNULL,
        env={**kept, **FIRM_SETTINGS, "MFBENCH_DATA": str(folder / "data")},
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"mfbench {' '.join(words)} ended with status {status}; see its messages above")
    return time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def proposal(trials: Sequence[Record], recall_all: bool) -> float:
    """Milliseconds of CPU time that one proposal after these trials takes, in a batch of eight."""
    spec, finished = load_spec(SPEC), [Finished.of(trial) for trial in trials]
    assert spec.sweep is not None
    begun = time.process_time()
    propose(spec, spec.sweep.space_of("numba"), len(trials) // 8, 8, finished, recall_all=recall_all)
    return 1000 * (time.process_time() - begun) / 8


def study(trials: int, folder: Path) -> list[tuple[str, str]]:
    """Run and measure everything in that folder; the rows of the table."""
    (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    wall, *_ = measured([*SWEEP, "--trials", str(trials)], folder)
    records = [read_record(path) for path in sorted(folder.glob("runs/*/numba/trial-*.json"))][:trials]
    between = 1000 * np.diff(sorted(record.ended for record in records))
    tenth = max(1, trials // 10)
    first, last = between[:tenth].mean(), between[-tenth:].mean()
    work = 1000 * np.mean([record.clocks.train_seconds + record.clocks.evaluate_seconds for record in records])
    rows = [
        ("the sweep, s", f"{wall:.1f}"),
        (f"ms a trial, first {tenth}", f"{first:.1f}"),
        (f"ms a trial, last {tenth}", f"{last:.1f}"),
        ("last against first", f"{last / first:.2f}"),
        ("of it training and scoring, ms a trial", f"{work:.1f}"),
    ]
    asked = [("the sweep again", [*SWEEP, "--trials", str(trials)]), ("compare", COMPARE), ("report", REPORT)]
    for name, words in asked:
        wall, cpu, peak = measured(words, folder)
        rows.append((f"{name}, s (CPU s, peak MiB)", f"{wall:.1f} ({cpu:.1f}, {peak:.0f})"))
    for name, recall_all in (("all", True), (f"at most {RECALLED}", False)):
        rows.append((f"one proposal of TPE given {name} of {trials} trials, CPU ms", f"{proposal(records, recall_all):.1f}"))
    size = sum(path.stat().st_size for path in folder.glob("mlflow.db*")) / trials / 1024
    return [*rows, ("MLflow's database, KiB a trial", f"{size:.0f}")]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="a folder for the study, to keep it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = given.folder or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        table = markdown([f"{given.trials:,} trials", ""], [list(row) for row in study(given.trials, place.resolve())])
    print(table)
    write_whole(RESULTS / "thousand-trials" / "thousand-trials.md", table.encode())


if __name__ == "__main__":
    main()
