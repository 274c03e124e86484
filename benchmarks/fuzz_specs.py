"""Mutate specs, read them, and do what `run` and `sweep` do up to the first trials, where that is little work.

python benchmarks/fuzz_specs.py [--count 20000] [--seed 0] [--json]
"""

from __future__ import annotations

import copy
import os
import random
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from fuzz_state import HOSTILE, walk
from fuzzing import Verdict, judged, scratch
from fuzzing import main as fuzz

from mfbench.data.splits import parts_of
from mfbench.runs.jobs import backend_of, job_of
from mfbench.runs.preparation import Preparation
from mfbench.runs.training import make
from mfbench.search.study import Past
from mfbench.search.sweep import Plan
from mfbench.spec import Spec, load_spec, run_study_key

WORK = 300_000  # updates times factors: what a fuzzer has time for
LARGE, IMPOSSIBLE = 100_000, 10**10  # rows and ratings; the latter need a terabyte
PLANTED = {"planted": {"users": 60, "items": 80, "ratings": 2000, "seed": 1}}
RANDOM = {"kind": "random", "valid": 0.15, "test": 0.15, "seed": 7}
MODEL = {"backend": "loop", "K": 3, "alpha": 0.01, "beta": 0.05, "epochs": 2, "center": True, "bias": True}
SPACE = {"K": {"int": [2, 6]}, "alpha": {"float": [0.001, 0.1], "log": True}, "beta": 0.05}
OPTIONS: dict[str, dict[str, Any]] = {
    "als": {"threads": 1, "dtype": "float64"}, "bmf": {"threads": 1}, "numba": {"blocks": 4, "threads": 1,
    "dtype": "float64"},
    "adam": {"batch_size": 64}, "mlp": {"batch_size": 64},
}  # fmt: skip
SPECS: list[dict[str, Any]] = [
    {"data": PLANTED, "split": RANDOM},
    {"data": {"dataset": "notebook-6x4"}, "split": {"kind": "none"}, "model": {**MODEL, "step": "adagrad"}},
    {"data": PLANTED, "split": {"kind": "kfold", "folds": 3}, "model": {**MODEL, "init": {"uniform": [0, 1]}}},
    {"data": PLANTED, "split": {"kind": "tail", "valid": 0.2, "shuffle": 1}, "model": {**MODEL, "patience": 2}},
    {"data": PLANTED, "split": {"kind": "users", "valid": 0.2, "test": 0.2, "known": 0.5}},
    {"data": PLANTED, "split": {"kind": "leave-out", "valid": 1, "test": 1}, "model": {**MODEL, "init": {"positive": 1}}},
    {"data": PLANTED, "split": {"kind": "last", "valid": 1}, "model": {**MODEL, "evaluate_every": 2, "step": "decay"}},
    {"data": {"file": "ratings.csv"}, "split": RANDOM, "evaluation": {"k": [3], "relevant": 4}},
    {"data": {"file": "ratings.csv", "header": True, "duplicates": "last"}, "split": RANDOM},
    *({"data": PLANTED, "split": RANDOM, "model": {**MODEL, "backend": name, "options": {name: knobs}}}
      for name, knobs in OPTIONS.items()),
    {"data": PLANTED, "split": RANDOM,
     "sweep": {"trials": 3, "batch": 3, "backends": ["loop", "mean"], "sampler": "random", "space": SPACE}},
    {"data": PLANTED, "split": RANDOM,
     "sweep": {"trials": 3, "batch": 2, "sampler": "grid", "grid": {"K": 2, "alpha": 3}, "space": SPACE}},
    {"data": PLANTED, "split": RANDOM,
     "sweep": {"trials": 4, "pruner": "hyperband", "repeats": 2, "space": SPACE,
               "spaces": {"loop": {"bias": {"choice": [True, False]}}}}},
    {"data": PLANTED, "split": RANDOM,
     "sweep": {"trials": 4, "objectives": ["valid_ndcg_5"], "stop": 2, "spaces": {"als": {"init": {"float": [0.1, 1]}}}}},
    {"data": PLANTED, "split": RANDOM, "race": {"backends": ["loop"], "K": [2], "threads": [1], "rounds": 1}},
]  # fmt: skip
MORE: list[Any] = [
    *HOSTILE, 1, 2, 1.5, 1e-300, 1e300, float("nan"), -0.0, 10**12, 10**30, 2**31 - 1, 2**32, 2**63 - 1, -(2**63), 10**4000,
    "1e400", "a b", "mean", "mlp", "../x.py:X", "/dev/null", "x.csv", "ratings.csv", "~", "a" * 300, "\u202eabc", "\ud800",
    [1, 2], [2, 1], [0, 0], [1, 10**30], [0.1, float("inf")], {"int": [1, 10**18]}, {"float": [1e-300, 1e300], "log": True},
    {"choice": ["a", 1, True]}, {"choice": [1]}, {"normal": 1e308}, {"kind": "random"}, {"dataset": "planted-10k"},
]  # fmt: skip
NEAR: dict[str, list[Any]] = {
    "backend": ["loop", "mean", *OPTIONS], "sampler": ["tpe", "random", "grid", "cmaes"], "kind": ["random", "kfold",
    "last", "none"],
    "pruner": ["patience", "none", "median", "hyperband"], "init": [{"uniform": [0, 1]}, {"normal": 1e-9},
    {"positive": 1e9}],
    "step": ["constant", "adagrad", "decay"], "dataset": ["planted-10k", "notebook-6x4", "ml-100k"], "K": [{"int": [1, 3]}],
    "objectives": [["valid_mae"], ["valid_rmse", "K"], ["valid_recall_5"]], "space": [{}, {"K": 2},
    {"init": {"float": [0.1, 1]}}],
    "first_trial": ["model", "sampler"], "side_by_side": [True, False], "evaluation": [{"k": []}, {"k": [1, 5],
    "relevant": 1}],
}  # fmt: skip
PIECES = ["", ":", "\t", "- ", "{", "\0", "&a *a", "!!python/object:os.system", "\n---\n", "'", "[" * 2000]
SCALES = [0, -1, 0.5, 2, 10, 1000, 10**6, 10**9, 10**12]
KEYS: list[Any] = [
    *NEAR, "trials", "stop", "batch", "repeats", "alpha", "beta", "seed", "epochs", "options", "planted", "file",
    "delimiter", "grid",
    "folds", "fold", "valid", "test", "patience", "x", "", "\0", 3, None, True,
]  # fmt: skip


def mutated(rng: random.Random) -> dict[str, Any]:
    """One of the specs with one to four changes: half of the specs by values that they might have, half by any."""
    tree = copy.deepcopy({"name": "fuzz", "model": MODEL, **rng.choice(SPECS)})
    near = rng.random() < 0.5
    for _ in range(rng.choice([1, 1, 1, 2, 2, 4])):
        places = list(walk(tree)) or [({}, "x")]
        numbers = [(node, key) for node, key in places if type(node[key]) in (int, float)]
        if near and numbers and rng.random() < 0.6:
            node, key = rng.choice(numbers)
            node[key] = type(node[key])(node[key] * rng.choice(SCALES))
        elif near:
            node, key = rng.choice([place for place in places if place[1] in NEAR] or places)
            node[key] = copy.deepcopy(rng.choice(NEAR.get(key, MORE)))
        else:
            _any_change(rng, *rng.choice(places))
    return tree


def _any_change(rng: random.Random, node: Any, key: Any) -> None:
    """Another value, a key less or more, or a part of another spec."""
    kind = rng.random()
    if kind < 0.4:
        node[key] = copy.deepcopy(rng.choice(MORE))
    elif kind < 0.6 and isinstance(node, dict):
        node.pop(key, None)
    elif kind < 0.8 and isinstance(node, dict):
        new = rng.choice(KEYS)
        node[new] = copy.deepcopy(rng.choice(NEAR.get(new, MORE)))
    else:
        other, place = rng.choice(list(walk(rng.choice(SPECS))))
        node[key] = copy.deepcopy(other[place])


@cache
def home() -> Path:
    """The data home, which all inputs of a process share."""
    return scratch()


def attempt(rng: random.Random, _: Path, work: int = WORK) -> Verdict:
    """Read a spec, from a file or a tree, and do what it asks if that is little. work: how much is little."""
    os.environ["MFBENCH_DATA"] = str(home())
    Path("ratings.csv").write_text("user,item,rating\n" + "".join(f"{n % 9},{n % 11},{n % 5 + 1}\n" for n in range(99)))
    tree = mutated(rng)
    shown = repr(tree)
    if rng.random() < 0.2:
        text = yaml.safe_dump(tree, allow_unicode=True) if "\ud800" not in shown else "a: \ud800"
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(PIECES) + text[at:]
        Path("spec.yaml").write_bytes(text.encode(errors="surrogatepass"))
        return judged(lambda: tried(load_spec("spec.yaml"), work), repr(text))
    return judged(lambda: tried(load_spec(tree), work), shown)


def tried(spec: Spec, work: int) -> None:
    """What `run` does, or `sweep` with a sweep section, without records: all checks, and if it is little, the training."""
    planted = spec.data.planted
    size = planted.users + planted.items + planted.ratings if planted else 0
    if LARGE < size < IMPOSSIBLE or spec.folds > 10:
        return  # that takes its time
    if spec.sweep is None:
        run_study_key(spec)
        backend_of(spec.model, spec.model.backend)
        jobs = [job_of(spec, "fuzz-1", spec.model.backend, "run", repeat=r) for r in range(spec.folds)][:2]
        parts = [parts_of(job.spec) for job in jobs]
    else:
        plan = Plan.of(spec)
        study, parts = plan.studies[0], plan.parts
        trials = Past(study).jobs([None] * min(study.budget, spec.sweep.batch, 8))
        jobs = trials[0][:1]
    for job, part in zip(jobs, parts, strict=False):
        if job.epochs * part.n["train"] * job.model.K < work:
            make([job], part, None, Preparation())


if __name__ == "__main__":
    fuzz(attempt, __file__, 20_000)
