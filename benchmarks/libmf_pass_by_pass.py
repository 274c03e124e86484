"""LIBMF's valid RMSE after each pass, and that of `numba` with `step: adagrad`: the same rule, parameters and kind of start.

    python benchmarks/libmf_pass_by_pass.py MF_TRAIN [--data planted-1m ml-latest-small] [--K 32 128] [--starts 30]

One training says little about a pass: while the factors separate, its RMSE depends on the random start, in LIBMF as here.
So means over several starts are compared; LIBMF's own start is always the same, and it gets new ones by new numbers for
users and items. It depends on the order of the ratings too. "ours, its order" visits them in LIBMF's kind of order, on
one thread: 20 x 20 blocks in a new random order in each pass, each sorted by user (by item, where there are more items).
"ours" is the schedule of every day: 16 x 16 blocks by diagonals, shuffled, on all threads.
Written to `results/against-libmf/pass-by-pass.md`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from against_libmf import ETA, PASSES, PENALTY, parts_of, timed, write_text

from mfbench.backends.numba import Numba
from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.core.randomness import generator
from mfbench.core.tables import markdown
from mfbench.matrix.cuts import blocks
from mfbench.matrix.factors import HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Replayed, Schedule
from mfbench.models.scoring import score

Arrange = Callable[[Ratings, np.random.Generator], tuple[Ratings, Schedule]]


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mf_train")
    parser.add_argument("--data", nargs="+", default=["planted-1m", "ml-latest-small"])
    parser.add_argument("--K", nargs="+", type=int, default=[32, 128])
    parser.add_argument("--starts", type=int, default=30)
    given = parser.parse_args()
    body = []
    for name in given.data:
        train, valid = parts_of(name)
        for K in given.K:
            theirs = np.array([libmf(given.mf_train, train, valid, K, start) for start in range(given.starts)])
            lines = {"LIBMF": theirs, "highest - lowest": np.ptp(theirs, axis=0)}
            for what, arrange in (("ours, its order", in_its_order), ("ours", Numba().arrange)):
                ours = np.array([numba(arrange, train, valid, K, start) for start in range(given.starts)])
                lines |= {what: ours, f"{what}: gap": ours.mean(axis=0) - theirs.mean(axis=0)}
                print(f"{name}, K={K}, {what}: largest gap {np.abs(lines[f'{what}: gap']).max():.4f}", flush=True)
            for what, line in lines.items():
                body.append([name, str(K), what, *(f"{value:.4f}" for value in np.atleast_2d(line).mean(axis=0))])
    header = ["data", "K", f"mean of {given.starts}", *(f"pass {n + 1}" for n in range(PASSES))]
    text = f"{__doc__.split(chr(10))[0]}\n\n{markdown(header, body)}"
    print(text)
    write_whole(RESULTS / "against-libmf" / "pass-by-pass.md", text.encode())


def libmf(program: str, train: Ratings, valid: Ratings, K: int, start: int) -> list[float]:
    """The valid RMSE after each pass of LIBMF, with users and items numbered at random."""
    rng = generator(start, "start")
    users, items = (rng.permutation(n).astype(np.int32) for n in (train.n_users, train.n_items))

    def renumbered(part: Ratings) -> Ratings:
        return Ratings(users[part.users], items[part.items], part.values, part.n_users, part.n_items)

    with tempfile.TemporaryDirectory() as folder:
        train_file = write_text(Path(folder) / "train.txt", renumbered(train))
        valid_file = write_text(Path(folder) / "valid.txt", renumbered(valid))
        return timed(program, train_file, valid_file, K, 1, PASSES)[1]


def in_its_order(train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:
    """The ratings in blocks like LIBMF's, sorted within each; the blocks come in a new random order in each pass."""
    arranged, diagonals = blocks(train, 20, rng)
    block = np.repeat(np.arange(len(diagonals.offsets) - 1), np.diff(diagonals.offsets))
    keys = (arranged.items, arranged.users) if train.n_users > train.n_items else (arranged.users, arranged.items)
    return arranged.take(np.lexsort((*keys, block))), Replayed(diagonals.offsets)


def numba(arrange: Arrange, train: Ratings, valid: Ratings, K: int, start: int) -> list[float]:
    """The valid RMSE after each pass of ours."""
    s = float(np.std(train.values, dtype=np.float64))
    factors = draw_start(train, K, {"positive": s**0.5}, False, generator(start, "start"))
    rng = generator(start, "order")
    arranged, schedule = arrange(train, rng)
    hyper = HyperParams(K, ETA / 2, 2 * PENALTY, PASSES, False, "adagrad")
    models = Numba().epochs(arranged, factors, hyper, schedule, rng)
    next(models)
    return [score(model, valid)[0] for model in models]


if __name__ == "__main__":
    main()
