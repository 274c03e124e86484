"""Kill sweeps at random moments, start them again until they end, and compare with a sweep that nobody touched.

    python benchmarks/kill_campaign.py [--kills 40] [--seed 0] [--workers 1 | --cluster local:2] [--backend NAME] [--json]

Each kill is a SIGKILL at a moment and of a victim that the seed draws: the parent of a sweep, one of its workers, or all of
them together. Compared are the --json of the sweep that ended (the keys that may differ aside), every record, and every run
in MLflow. It prints a line a kill and a table, and ends with 1 where anything is lost, there twice, or different.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mfbench.core.tables import markdown
from mfbench.runs.record_files import read_record
from mfbench.tracking.store import FIRM_SETTINGS

SPEC: dict[str, Any] = {
    "name": "kills",
    "data": {"planted": {"users": 300, "items": 200, "ratings": 12_000, "seed": 1}},
    "split": {"kind": "random", "valid": 0.1, "test": 0.1, "seed": 7},
    "model": {"epochs": 60, "center": True, "bias": True, "init": {"normal": 0.1}, "seed": 3},
    "sweep": {
        "trials": 24,
        "batch": 6,
        "backends": ["numba", "mean"],
        "space": {
            "K": {"int": [2, 16]},
            "alpha": {"float": [0.002, 0.03], "log": True},
            "beta": {"float": [0.01, 0.5], "log": True},
        },
    },
}
VICTIMS = ("parent", "worker", "both")
KILLS_A_SWEEP = 4  # at most, before it may end
WORKERS_A_START = 2  # so many workers of one process at most: a third death on the same trial would rightly fail it
SECONDS = 1200  # that a sweep may take on a busy machine to end, or to show the sign that a moment waits for
SWEEPS_A_KILL = 3  # at most: a moment that comes in none of so many sweeps does not come at all
KEPT = ("MFBENCH_CACHE", "MFBENCH_PEERS")  # of the environment
MAY_DIFFER = ("_seconds", "_id", "_url", "_path")


# --- moments ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    """When to kill: so many seconds after a sign is to be seen in the sweep's folder; `over`: that will not come again."""

    name: str
    sign: Callable[[Path], bool]
    delay: float
    over: Callable[[Path], bool] = lambda _: False


def so_many_trials(n: int) -> Callable[[Path], bool]:
    return lambda at: trials(at) >= n


def searched() -> str:
    """The backend whose sweeps are killed; the other one of the spec is the floor."""
    return str(SPEC["sweep"]["backends"][0])


def moments(rng: random.Random) -> Iterator[Moment]:
    """A moment after another, each kind as often as the others, in an order drawn anew each round."""
    all_trials = SPEC["sweep"]["trials"]
    while True:
        some = rng.randrange(1, all_trials)
        kinds = [
            Moment("start-up", lambda _: True, rng.uniform(0, 3)),
            Moment("trials", so_many_trials(some), rng.uniform(0, 0.2), lambda at: trials(at) == all_trials),
            Moment("a record is written", writing, 0.0, lambda at: trials(at) == all_trials),
            Moment("MLflow's store is made", making, rng.uniform(0, 1.5), lambda at: (at / "mlflow.db").exists()),
            Moment("the final run", lambda at: trials(at) == all_trials, rng.uniform(0, 0.1), lambda at: finals(at) == 2),
            Moment("the export", lambda at: finals(at) == 2, rng.uniform(0, 4)),
        ]
        rng.shuffle(kinds)
        yield from kinds


def trials(folder: Path) -> int:
    """How many trials have their record."""
    return sum(1 for _ in folder.glob(f"runs/*/{searched()}/trial-*.json"))


def finals(folder: Path) -> int:
    """How many final runs and floors have their record."""
    return sum(1 for _ in folder.glob("runs/*/*/f*-*.json"))


def writing(folder: Path) -> bool:
    """Whether a trial's record is being written."""
    return any(folder.glob(f"runs/*/{searched()}/.trial-*"))


def making(folder: Path) -> bool:
    """Whether the tables of MLflow's store are being made."""
    return any(folder.glob("mlflow.db.new*"))


# --- one sweep -------------------------------------------------------------------------------------------------------


@dataclass
class Sweep:
    """A sweep in a folder of its own, started again after each kill."""

    folder: Path
    how: tuple[str, ...] = ("--workers", "2")
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0
    workers_killed: int = 0

    def start(self) -> subprocess.Popen[bytes]:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "spec.yaml").write_text(yaml.safe_dump(SPEC))
        kept = {
            name: value for name, value in os.environ.items() if name in KEPT or not name.startswith(("MFBENCH_", "MLFLOW_"))
        }
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mfbench", "sweep", "spec.yaml", *self.how, "--json"],
                cwd=self.folder, stdout=out, stderr=err, env={**kept, **FIRM_SETTINGS},
            )  # fmt: skip
        self.workers_killed = 0
        return self.process

    def kill(self, moment: Moment, victim: str, rng: random.Random) -> str | None:
        """Kill the victim at that moment, and say what was killed; None where the moment does not come."""
        if moment.over(self.folder):
            return None
        process = self.process or self.start()
        until = time.monotonic() + SECONDS
        while not moment.sign(self.folder):
            if process.poll() is not None:
                return None
            if time.monotonic() > until:
                raise TimeoutError(f"{self.folder}: {moment.name} did not come in {SECONDS} seconds")
            time.sleep(0.0005 if moment.delay == 0 else 0.005)  # a record is written within a millisecond
        until = time.monotonic() + moment.delay
        while time.monotonic() < until:
            if process.poll() is not None:
                return None
            time.sleep(0.001)
        workers = children(process.pid)
        if victim == "worker" and (not workers or self.workers_killed == WORKERS_A_START):
            victim = "parent"  # none is there yet, or any more
        pids = {"parent": [process.pid], "worker": workers and [rng.choice(workers)], "both": [process.pid, *workers]}[victim]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.kills += 1
        if victim == "worker":
            self.workers_killed += 1
        else:
            process.wait(SECONDS)
            self.process = None
        return victim if victim != "both" or workers else "parent"

    def stop(self) -> None:
        """Leave no process behind where the campaign ends before the sweep."""
        if self.process and self.process.poll() is None:
            for pid in (self.process.pid, *children(self.process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def end(self) -> int:
        """Let the sweep end, and give its exit code."""
        return (self.process or self.start()).wait(SECONDS)

    def answer(self) -> Any:
        """Its --json without the keys that may differ."""
        lines = (self.folder / "stdout").read_text().splitlines()
        return steady(json.loads(lines[-1])) if lines else None

    def records(self) -> dict[str, tuple[Any, ...]]:
        """What each record says that must not differ, by run key."""
        found = [read_record(path) for path in self.folder.glob("runs/*/*/*-*.json")]
        return {r.run_key: (r.K, r.alpha, r.beta, r.outcome, r.epochs, r.result) for r in found}

    def runs(self) -> list[tuple[str, str]]:
        """Run key and status of each run in MLflow."""
        os.environ.update(FIRM_SETTINGS)
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder / 'mlflow.db'}")
        experiment = client.get_experiment_by_name(SPEC["name"])
        runs = client.search_runs([experiment.experiment_id], max_results=1000) if experiment else []
        return [(run.data.tags["mfbench.run_key"], run.info.status) for run in runs]


def steady(summary: Any) -> Any:
    """A --json object without the keys that may differ."""
    if isinstance(summary, dict):
        return {key: steady(value) for key, value in summary.items() if not key.endswith(MAY_DIFFER)}
    return [steady(one) for one in summary] if isinstance(summary, list) else summary


def children(pid: int) -> list[int]:
    """The workers of a sweep that still run, those of its cluster too; not Python's own tracker, nor a peer's process."""
    import psutil

    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if not any(name in " ".join(child.cmdline()) for name in ("resource_tracker", "adapters/serve.py")):
                    found.append(child.pid)
    return found


# --- the campaign ----------------------------------------------------------------------------------------------------


Whole = tuple[dict[str, tuple[Any, ...]], set[str], Any]
"""Of a sweep that nobody touched: its records, the run keys in MLflow, and its answer."""


@dataclass
class Found:
    """What a campaign found; all counts but the first three should be 0."""

    kills: int = 0
    sweeps: int = 0
    records: int = 0
    lost: int = 0
    twice: int = 0
    different: int = 0
    exit_codes: int = 0
    tracebacks: int = 0
    runs_lost: int = 0
    runs_twice: int = 0
    runs_running: int = 0
    by_moment: Counter[tuple[str, str]] = field(default_factory=Counter)

    def faults(self) -> int:
        names = ("lost", "twice", "different", "exit_codes", "tracebacks", "runs_lost", "runs_twice", "runs_running")
        return sum(getattr(self, name) for name in names)

    def compare(self, sweep: Sweep, whole: Whole, code: int) -> None:
        """Count what differs between a sweep that was killed and went on, and the whole one."""
        mine, (theirs, wanted, answer) = sweep.records(), whole
        self.sweeps += 1
        self.records += len(theirs)
        self.exit_codes += code != 0
        self.lost += len(theirs.keys() - mine.keys())
        self.twice += len(mine.keys() - theirs.keys()) + sum(1 for _ in sweep.folder.glob("runs/*/*/*.aside"))
        self.different += sum(mine[key] != theirs[key] for key in mine.keys() & theirs.keys())
        self.different += sweep.answer() != answer
        self.tracebacks += (sweep.folder / "stderr").read_text().count("Traceback")
        runs = sweep.runs()
        self.runs_lost += len(wanted - dict(runs).keys())
        self.runs_twice += len(runs) - len(dict(runs))
        running = [key for key, status in runs if status == "RUNNING"]
        self.runs_running += len(running)
        if running or code:
            said = (sweep.folder / "stderr").read_text().splitlines()[-3:]
            print(f"{sweep.folder.name}: code {code}, RUNNING {running}; it said: {said}", file=sys.stderr)

    def table(self) -> str:
        hits = [[moment, *(self.by_moment[moment, victim] or "–" for victim in VICTIMS)] for moment, _ in self.by_moment]
        unique = [row for n, row in enumerate(hits) if row not in hits[:n]]
        counts = [[name.replace("_", " "), value] for name, value in vars(self).items() if name != "by_moment"]
        return (
            markdown(["killed when", *VICTIMS], [[str(cell) for cell in row] for row in unique])
            + "\n"
            + markdown(["counted", "number"], [[name, str(value)] for name, value in counts])
        )


def campaign(kills: int, seed: int, folder: Path, how: tuple[str, ...], found: Found) -> None:
    """So many kills, over as many sweeps as that takes; how: the options of the sweeps that are killed."""
    rng = random.Random(seed)
    whole = Sweep(folder / "whole")
    code = whole.end()
    if code != 0:
        sys.exit(f"the sweep that nobody touched ended with {code}:\n{(whole.folder / 'stderr').read_text()}")
    expected = (whole.records(), {key for key, _ in whole.runs()}, whole.answer())
    drawn = moments(rng)
    moment = next(drawn)
    while found.kills < kills:
        if found.sweeps > SWEEPS_A_KILL * kills:
            sys.exit(f"{found.kills} of {kills} kills in {found.sweeps} sweeps: {moment.name} does not come")
        sweep = Sweep(folder / f"sweep-{found.sweeps}", how)
        try:
            wanted = rng.randint(1, KILLS_A_SWEEP)
            while sweep.kills < wanted and found.kills < kills:
                struck = sweep.kill(moment, rng.choice(VICTIMS), rng)
                if struck is None:
                    break  # the same moment in another sweep
                found.kills += 1
                found.by_moment[moment.name, struck] += 1
                print(
                    f"{found.kills}: {sweep.folder.name}: {struck}, {moment.delay:.2f} s into: {moment.name}", file=sys.stderr
                )
                moment = next(drawn)
            found.compare(sweep, expected, sweep.end())
        finally:
            sweep.stop()


def main() -> None:
    """Read the arguments, carry out the campaign, print what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", default="2", help="of the sweeps that are killed; the one to compare with has 2")
    parser.add_argument("--cluster", help="kill sweeps on this cluster, such as local:2")
    parser.add_argument("--folder", type=Path, help="where to keep the sweeps; else they are removed")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--backend", default="numba", help="whose sweeps are killed; a peer needs MFBENCH_PEERS")
    given = parser.parse_args()
    SPEC["sweep"]["backends"][0] = given.backend
    found = Found()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        how = ("--cluster", given.cluster) if given.cluster else ("--workers", given.workers)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            campaign(given.kills, given.seed, folder.resolve(), how, found)
        except KeyboardInterrupt:  # what is known until then is told
            print("stopped", file=sys.stderr)
    print(found.table())
    if given.json:
        print(json.dumps({name: value for name, value in vars(found).items() if name != "by_moment"}))
    sys.exit(1 if found.faults() else 0)


if __name__ == "__main__":
    main()
