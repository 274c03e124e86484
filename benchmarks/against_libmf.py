"""LIBMF beside `numba`: with `step: adagrad`, the same rule, parameters and kind of start; and with `step: decay`.

    python benchmarks/against_libmf.py MF_TRAIN [--data planted-1m ml-latest-small] [--K 32 128] [--threads 1 2]

MF_TRAIN is the program `mf-train`, built from LIBMF's own source. Both are scored on the valid pairs whose user and item
have ratings in train, after each pass. LIBMF's time for a pass is that of 44 passes less that of 4, as it reads text
first; ours is the training clock of a record. A ratio is the time from the first update to LIBMF's valid RMSE after 10
passes, as a share of LIBMF's: for the same rule, in another order of the ratings (a dash if 12 passes do not reach it), and
for `decay` with biases, whose one setting for all lines is the best of eighteen tried on planted-1m. LIBMF has the step size
and the penalty below. Written to `results/against-libmf/`.
"""

from __future__ import annotations

import argparse
import math
import re
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from mfbench.backends.numba import Numba
from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.core.randomness import generator
from mfbench.core.tables import markdown
from mfbench.data import splits
from mfbench.matrix.factors import HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.models.scoring import score
from mfbench.spec import load_spec

ETA, PENALTY, PASSES, ROUNDS = 0.1, 0.05, 12, 3
STEPS = {"adagrad": ETA / 2, "constant": 0.005, "decay": 0.014}
"""Alpha of each rule; that of `constant` is for the time of a pass alone."""


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mf_train")
    parser.add_argument("--data", nargs="+", default=["planted-1m", "ml-latest-small"])
    parser.add_argument("--K", nargs="+", type=int, default=[32, 128])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    given = parser.parse_args()
    header = ["data", "K", "threads", "LIBMF RMSE", "adagrad", "largest gap", "decay", "LIBMF s", "adagrad s", "decay s"]
    header += ["ratio", "ratio of decay", "adagrad / constant"]
    body = []
    for name in given.data:
        train, valid = parts_of(name)
        with tempfile.TemporaryDirectory() as folder:
            files = write_text(Path(folder) / "train.txt", train), write_text(Path(folder) / "valid.txt", valid)
            for K in given.K:
                for threads in given.threads:
                    body.append([name, str(K), str(threads), *measured(given.mf_train, *files, train, valid, K, threads)])
                    print(dict(zip(header, body[-1], strict=True)), flush=True)
    text = f"{__doc__.split(chr(10))[0]}\n\n{markdown(header, body)}"
    print(text)
    write_whole(RESULTS / "against-libmf" / "against-libmf.md", text.encode())


def measured(
    program: str, train_file: Path, valid_file: Path, train: Ratings, valid: Ratings, K: int, threads: int
) -> list[str]:
    """One line of the table: rounds interleaved, LIBMF, ours with each step, and again."""
    theirs: list[float] = []
    curves: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {"libmf": [], **{f"{step}{what}": [] for step in STEPS for what in ("", " to it")}}
    for _ in range(ROUNDS):
        few, many = (timed(program, train_file, valid_file, K, threads, passes) for passes in (4, 44))
        theirs = many[1][:PASSES]
        seconds["libmf"].append(10 * (many[0] - few[0]) / 40)
        for step in STEPS:
            curves[step], clock = trained(train, valid, K, threads, step)
            reached = next((n for n, rmse in enumerate(curves[step]) if rmse <= theirs[9]), None)
            seconds[f"{step} to it"].append(math.inf if reached is None else sum(clock[: reached + 1]))
            seconds[step].append(sum(clock[1:]))
    middle = {name: median(each) for name, each in seconds.items()}
    to_it = [middle[f"{step} to it"] for step in ("adagrad", "decay")]
    gap = max(abs(a - b) for a, b in zip(curves["adagrad"], theirs, strict=True))
    rmses = [theirs[9], curves["adagrad"][9], gap, curves["decay"][9]]
    return [
        *(f"{rmse:.4f}" for rmse in rmses),
        *(f"{each:.2f}" if math.isfinite(each) else "–" for each in (middle["libmf"], *to_it)),
        *(f"{each / middle['libmf']:.2f}" if math.isfinite(each) else "–" for each in to_it),
        f"{middle['constant'] / middle['adagrad']:.2f}",
    ]


def parts_of(name: str) -> tuple[Ratings, Ratings]:
    """Train, and the pairs of valid whose user and item it knows."""
    tree = {"name": "libmf", "data": {"dataset": name}, "split": {"kind": "random", "valid": 0.1, "seed": 7}}
    parts: Any = splits.parts_of(load_spec(tree))
    user, item = parts.valid.unknown_to(parts.train)
    return parts.train, parts.valid.take(np.flatnonzero(~(user | item)))


def write_text(path: Path, ratings: Ratings) -> Path:
    """Lines of user, item and rating."""
    columns = zip(ratings.users.tolist(), ratings.items.tolist(), ratings.values.tolist(), strict=True)
    path.write_text("".join(f"{u} {i} {r}\n" for u, i, r in columns))
    return path


def timed(program: str, train: Path, valid: Path, K: int, threads: int, passes: int) -> tuple[float, list[float]]:
    """Seconds of LIBMF from its start to its end, and the valid RMSE of each pass."""
    words = [
        "-f",
        "0",
        "-k",
        K,
        "-t",
        passes,
        "-r",
        ETA,
        "-l2",
        PENALTY,
        "-s",
        threads,
        "-p",
        valid,
        train,
        train.parent / "m",
    ]
    begun = time.perf_counter()
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=True, timeout=600)
    return time.perf_counter() - begun, [float(line.split()[2]) for line in re.findall(r"^ +\d.*$", done.stdout, re.M)]


def trained(train: Ratings, valid: Ratings, K: int, threads: int, step: str) -> tuple[list[float], list[float]]:
    """The valid RMSE after each pass of ours, and the seconds of each pass."""
    s = float(np.std(train.values, dtype=np.float64))
    bias = step == "decay"
    start = draw_start(train, K, {"normal": 0.1} if bias else {"positive": s**0.5}, bias, generator(0, "start"))
    hyper = HyperParams(K, STEPS[step], 2 * PENALTY, PASSES, bias, step, **({"decay": 0.1} if bias else {}))
    rng = generator(0, "order")
    backend = Numba(threads=threads)
    arranged, schedule = backend.arrange(train, rng)
    models = backend.epochs(arranged, start, hyper, schedule, rng)
    next(models)
    errors, seconds = [], []
    for _ in range(PASSES):
        begun = time.perf_counter()
        model = next(models)
        seconds.append(time.perf_counter() - begun)
        errors.append(score(model, valid)[0])
    return errors, seconds


if __name__ == "__main__":
    main()
