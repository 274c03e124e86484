"""A sweep on a Dask cluster beside local workers: the same answer, whatever happens, and what Dask costs.

    python benchmarks/cluster.py [--trials 100] [--rounds 3] [--many 500]

Sweeps planted-100k with `numba`: with two local workers, on a cluster of two (`local:2`), on one whose workers are killed one
by one, every 5 s, and with many trials of two epochs on 8 workers, as many as 4 to a core here. Rounds are interleaved.
Written to `results/cluster/`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import yaml

from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.core.tables import markdown
from mfbench.tracking.store import FIRM_SETTINGS

SPACE = {"K": {"int": [8, 64], "log": True}, "alpha": {"float": [0.002, 0.02], "log": True}, "beta": 0.1}
MAY_DIFFER = ("_seconds", "_id", "_url", "_path")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=500)
    given = parser.parse_args()
    ways = {"two local workers": ["--workers", "2"], "local:2": ["--cluster", "local:2"]}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as data:
        swept("planted-100k", 1, 20, [], data)  # so that data and compiled code are there
        for _ in range(given.rounds):
            for way, words in ways.items():
                seconds[way].append(swept("planted-100k", given.trials, 20, words, data)[0])
        wanted = swept("planted-100k", given.trials, 100, ["--workers", "2"], data)
        killed = swept("planted-100k", given.trials, 100, ["--cluster", "local:2"], data, kill_every=5)
        many = swept("planted-10k", given.many, 2, ["--cluster", "local:8"], data)
        alone = swept("planted-10k", given.many, 2, ["--workers", "2"], data)
    costs = [1000 * (b - a) / given.trials for a, b in zip(*seconds.values(), strict=True)]
    rows = [[way, *(f"{one:.1f}" for one in found)] for way, found in seconds.items()]
    lines = [
        f"Cost of Dask beyond a local worker: {median(costs):.1f} ms a trial in the median, its start of some 2 s included.\n",
        f"Workers killed every 5 s ({killed[3]} kills, {killed[0]:.0f} s): {same(killed, wanted)} as with local workers.\n",
        f"{given.many} trials on 8 workers of this machine ({many[0]:.0f} s): {many[2]} records of trials, {same(many, alone)}"
        " as with local workers.\n",
    ]
    text = (
        f"{__doc__.split(chr(10))[0]}\n\n{markdown(['seconds', *(f'round {n + 1}' for n in range(given.rounds))], rows)}\n"
        + "\n".join(lines)
    )
    print(text)
    write_whole(RESULTS / "cluster" / "cluster.md", text.encode())


def same(one: tuple[float, Any, int, int], other: tuple[float, Any, int, int]) -> str:
    """Whether two sweeps gave the same answer."""
    return "the same `--json`" if one[1:3] == other[1:3] else "ANOTHER `--json`"


def swept(
    dataset: str, trials: int, epochs: int, words: list[str], data: str, kill_every: float | None = None
) -> tuple[float, Any, int, int]:
    """Seconds, the answer without what may differ, the number of records of trials, and of workers that were killed."""
    spec = {
        "name": "cluster", "data": {"dataset": dataset}, "split": {"kind": "random", "valid": 0.1, "test": 0.1, "seed": 7},
        "model": {"epochs": epochs, "center": True, "bias": True, "options": {"numba": {"threads": 1}}},
        "sweep": {"trials": trials, "backends": ["numba"], "space": SPACE, "pruner": "none"},
    }  # fmt: skip
    kills, rng = 0, random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "spec.yaml").write_text(yaml.safe_dump(spec))
        command = [sys.executable, "-m", "mfbench", "sweep", "spec.yaml", "--json", *words]
        env = {**os.environ, **FIRM_SETTINGS, "MFBENCH_DATA": data}
        begun = time.time()
        with open(Path(folder, "out"), "w+") as out, open(Path(folder, "err"), "w+") as err:  # noqa: PTH123
            process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err, env=env)
            while kill_every and process.poll() is None:
                time.sleep(kill_every)
                with suppress(psutil.NoSuchProcess):  # one has ended meanwhile
                    children = psutil.Process(process.pid).children(recursive=True)
                    workers = [one for one in children if "multiprocessing.spawn" in " ".join(one.cmdline())]
                    if workers:
                        rng.choice(workers).kill()
                        kills += 1
            status = process.wait()
            seconds = time.time() - begun
            if status != 0:
                sys.exit(f"{words}: it ended with {status}: {Path(folder, 'err').read_text()}")
            answer = steady(json.loads(Path(folder, "out").read_text().splitlines()[-1]))
        records = len(list(Path(folder).glob("runs/*/numba/trial-*.json")))
    print(f"{dataset}, {trials} trials of {epochs} epochs, {' '.join(words)}: {seconds:.1f} s, {kills} kills", flush=True)
    return seconds, answer, records, kills


def steady(tree: Any) -> Any:
    """What may not differ between two sweeps."""
    if isinstance(tree, dict):
        return {name: steady(value) for name, value in tree.items() if not name.endswith(MAY_DIFFER)}
    return [steady(one) for one in tree] if isinstance(tree, list) else tree


if __name__ == "__main__":
    main()
