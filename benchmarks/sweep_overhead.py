"""What a sweep costs beside training and scoring, and what a second worker gains.

    python benchmarks/sweep_overhead.py [--trials 100] [--rounds 2] [--epochs N] [--only NAME ...] [--out FILE]
    python benchmarks/sweep_overhead.py --only "of one thread" --rounds 5 --out workers.md    # two workers against one

Measured from outside, as the wall time of `mfbench sweep` on the `numba` backend with an empty MLflow store, and split by the
clocks of the records: training and scoring; the drain of the export, after the last record; and the rest, which is start-up,
asking, preparing, compiling, records. Prints a table and writes it to results/sweep-overhead/. Rounds are interleaved, and
shown as a range, which is wide if there was other work on the machine; two workers against one also as the median.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.core.tables import markdown
from mfbench.runs.record_files import read_record
from mfbench.tracking.store import FIRM_SETTINGS

SPACE: dict[str, dict[str, Any]] = {
    "K": {"int": [8, 64], "log": True},
    "alpha": {"float": [0.002, 0.02], "log": True},
    "beta": {"float": [0.03, 0.3], "log": True},
}


@dataclass(frozen=True)
class Setting:
    """A sweep to be measured."""

    name: str
    dataset: str
    epochs: int
    workers: int = 1
    threads: int | None = None
    evaluate_train: bool = True

    def spec(self, trials: int) -> dict[str, Any]:
        return {
            "name": "overhead",
            "data": {"dataset": self.dataset},
            "split": {"kind": "random", "valid": 0.1, "test": 0.1, "seed": 7},
            "model": {"epochs": self.epochs, "center": True, "bias": True, "init": {"normal": 0.1},
                      "evaluate_train": self.evaluate_train, "options": {"numba": {"threads": self.threads}}},
            "sweep": {"trials": trials, "backends": ["numba"], "space": SPACE, "pruner": "none"},
        }  # fmt: skip


SETTINGS = [
    Setting("100k, one worker", "planted-100k", 20),
    Setting("1m, one worker", "planted-1m", 40),
    Setting("1m, one worker of one thread", "planted-1m", 40, 1, 1),
    Setting("1m, two workers of one thread", "planted-1m", 40, 2, 1),
]


@dataclass(frozen=True)
class Measured:
    """Seconds of wall time of one sweep; work: training and scoring of all runs, added up over the workers."""

    trials: int
    wall: float
    drain: float
    work: float
    workers: int

    @property
    def rest(self) -> float:
        """What is neither work nor drain, of one worker's time."""
        return self.wall - self.drain - self.work / self.workers


def measured(setting: Setting, trials: int, data: Path) -> Measured:
    """Run the sweep in a folder of its own, with data and compiled code made before."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "spec.yaml").write_text(yaml.safe_dump(setting.spec(trials)))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        command = [sys.executable, "-m", "mfbench", "sweep", "spec.yaml", "--workers", str(setting.workers), "--json"]
        begun = time.time()
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False,
            env={**kept, **FIRM_SETTINGS, "MFBENCH_DATA": str(data)},
        )  # fmt: skip
        ended = time.time()
        if done.returncode != 0:
            sys.exit(f"{setting.name}: it ended with {done.returncode}: {done.stderr}")
        records = [read_record(path) for path in Path(folder).glob("runs/*/numba/*-*.json")]
    assert len(records) == trials + 1, "a final run, and every trial"
    last = max(record.ended for record in records)
    work = sum(record.clocks.train_seconds + record.clocks.evaluate_seconds for record in records)
    return Measured(trials, ended - begun, ended - last, work, setting.workers)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="of each trial, instead of 20 on planted-100k and 40 on planted-1m")
    parser.add_argument("--out", default="overhead.md", help="the name of the file in results/sweep-overhead/")
    parser.add_argument("--only", nargs="*", help="part of the names of the settings")
    given = parser.parse_args()
    settings = [one for one in SETTINGS if not given.only or any(word in one.name for word in given.only)]
    settings = [replace(one, epochs=given.epochs or one.epochs) for one in settings]
    rounds: dict[Setting, list[Measured]] = {setting: [] for setting in settings}
    with tempfile.TemporaryDirectory() as data:
        for setting in settings:
            measured(setting, 1, Path(data))  # so that data and compiled code are there
        for number in range(given.rounds):
            for setting in settings:
                one = measured(setting, given.trials, Path(data))
                rounds[setting].append(one)
                print(f"round {number + 1}: {setting.name}: {one.wall:.1f} s", file=sys.stderr)
    header = ["sweep", "trials", "wall s", "train and score s", "rest, ms a trial", "rest, % of wall", "drain, ms a run"]
    body = [
        [
            setting.name, str(given.trials), ranged([one.wall for one in found], ".1f"),
            ranged([one.work for one in found], ".1f"),
            ranged([1000 * one.rest / one.trials for one in found], ".1f"),
            ranged([100 * one.rest / (one.wall - one.drain) for one in found], ".1f"),
            ranged([1000 * one.drain / one.trials for one in found], ".1f"),
        ]
        for setting, found in rounds.items()
    ]  # fmt: skip
    table = markdown(header, body)
    single, double = (next((s for s in settings if (s.workers, s.threads) == (n, 1)), None) for n in (1, 2))
    if single and double:
        pairs = list(zip(rounds[single], rounds[double], strict=True))
        whole = [a.wall / b.wall for a, b in pairs]
        before = [(a.wall - a.drain) / (b.wall - b.drain) for a, b in pairs]
        table += (
            f"\nTwo workers against one, `threads: 1`, in {len(pairs)} interleaved rounds: {ranged(whole, '.2f')} times as"
            f" fast, median {median(whole):.2f}; without the drain {ranged(before, '.2f')}, median {median(before):.2f}.\n"
        )
    print(table)
    write_whole(RESULTS / "sweep-overhead" / given.out, table.encode())


def ranged(values: list[float], form: str) -> str:
    """The least and the most of the rounds."""
    least, most = format(min(values), form), format(max(values), form)
    return least if least == most else f"{least} to {most}"


if __name__ == "__main__":
    main()
