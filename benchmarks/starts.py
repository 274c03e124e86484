"""What the start, the step, `center` and `bias` do to the best valid RMSE of `numba`, K = 32.

    python benchmarks/starts.py [--data planted-100k ml-latest-small]

Each cell is the lowest valid RMSE of any epoch over a small grid of alpha and beta, the same for all cells of a step.
Written to `results/starts/`.
"""

from __future__ import annotations

import argparse
from itertools import product
from typing import Any

from mfbench.backends.numba import Numba
from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.core.randomness import generator
from mfbench.core.tables import markdown
from mfbench.data.splits import parts_of
from mfbench.matrix.factors import HyperParams, draw_start
from mfbench.models.scoring import score
from mfbench.spec import load_spec

K, EPOCHS, PATIENCE = 32, 100, 8
STARTS: dict[str, dict[str, Any]] = {
    "normal 0.1": {"normal": 0.1},
    "normal 0.01": {"normal": 0.01},
    "positive 1": {"positive": 1.0},
    "uniform [0, 1)": {"uniform": (0.0, 1.0)},
}
GRID = {
    "constant": [(a, b) for a in (0.003, 0.01) for b in (0.05, 0.15)],
    "adagrad": [(a, b) for a in (0.03, 0.1) for b in (0.1, 0.2)],
}


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=["planted-100k", "ml-latest-small"])
    settings = list(product((True, False), (True, False)))
    named = [f"center {center}, bias {bias}".lower() for center, bias in settings]
    body = []
    for data in parser.parse_args().data:
        split = {"kind": "random", "valid": 0.1, "test": 0.1, "seed": 7}
        parts = parts_of(load_spec({"name": "starts", "data": {"dataset": data}, "split": split}))
        for step, (start, init) in product(GRID, STARTS.items()):
            cells = [min(best(parts, step, init, center, bias, *at) for at in GRID[step]) for center, bias in settings]
            body.append([data, step, start, *(f"{cell:.4f}" for cell in cells)])
            print(body[-1], flush=True)
    text = f"{__doc__.split(chr(10))[0]}\n\n{markdown(['data', 'step', 'start', *named], body)}"
    print(text)
    write_whole(RESULTS / "starts" / "starts.md", text.encode())


def best(parts: Any, step: str, init: dict[str, Any], center: bool, bias: bool, alpha: float, beta: float) -> float:
    """The lowest valid RMSE; a training ends once it has not come down for some epochs."""
    train, rng, backend = parts.train, generator(0, "order"), Numba()
    start = draw_start(train, K, init, center, generator(0, "start"))
    arranged, schedule = backend.arrange(train, rng)
    models = backend.epochs(arranged, start, HyperParams(K, alpha, beta, EPOCHS, bias, step), schedule, rng)
    next(models)
    lowest, since = float("inf"), 0
    for model in models:
        rmse = score(model, parts.valid)[0]
        lowest, since = (rmse, 0) if rmse < lowest else (lowest, since + 1)
        if since == PATIENCE or not rmse < 1e6:
            break
    return lowest


if __name__ == "__main__":
    main()
