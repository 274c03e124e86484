"""Damage a project's folder, run the commands on it, and see that each answers, in time, with numbers that are not others.

    python benchmarks/fuzz_state.py [--count 1000] [--seed 0] [--json]

The folder is that of a sweep and a plain run. Of it one file, drawn by the seed, is damaged: a record, a model, the errors of
users, a part or the card of a split, prepared data, MLflow's database, a log. Then nine commands run there in one process.
Pictures are made of records and of errors alone, so if another file is damaged, the report's are not drawn to the end.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import yaml
from fuzzing import SECONDS, Late, Verdict, at_most, refusal, scratch
from fuzzing import main as fuzz

SPEC: dict[str, Any] = {
    "name": "state",
    "data": {"planted": {"users": 60, "items": 80, "ratings": 2000, "seed": 1}},
    "split": {"kind": "random", "valid": 0.15, "test": 0.15, "seed": 7},
    "model": {"backend": "loop", "K": 3, "alpha": 0.01, "epochs": 2, "center": True, "bias": True},
    "sweep": {"trials": 2, "batch": 2, "backends": ["loop", "mean"], "sampler": "random", "space": {"K": {"int": [2, 6]}}},
}
HOSTILE: list[Any] = [
    None, True, False, 0, -1, 2**31, 2**63, 10**40, 0.5, -1e308, 1e400, "", "x", "..", "/", "a\0b", "\x1b[31m", "é" * 400,
    [], [1], ["a"], [[[]]], {}, {"a": 1}, {"": []},
]  # fmt: skip
WHOLE_SECONDS = 120.0  # for a command in the whole folder, which makes the store and imports everything


# --- the folder ------------------------------------------------------------------------------------------------------


@cache
def base(store: Path | None = None) -> Path:
    """A whole folder, made once in a process. store: an empty MLflow store, which takes seconds to make."""
    folder = scratch()
    here = Path.cwd()
    os.chdir(folder)
    try:
        if store is not None:
            shutil.copy(store, "mlflow.db")
        (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC))
        (folder / "plain.yaml").write_text(yaml.safe_dump({name: tree for name, tree in SPEC.items() if name != "sweep"}))
        for words in (["sweep", "spec.yaml"], ["run", "plain.yaml"]):
            code, out, _ = command(*words, seconds=WHOLE_SECONDS)
            assert code == 0, out
    finally:
        os.chdir(here)
    return folder


@cache
def known(name: str, store: Path | None = None) -> Any:
    """What the command of that name answers in a whole folder."""
    folder = scratch() / "whole"
    shutil.copytree(base(store), folder)
    here = Path.cwd()
    os.chdir(folder)
    try:
        return numbers(name, command(*commands(store)[name], seconds=WHOLE_SECONDS)[1], store)
    finally:
        os.chdir(here)


@cache
def keys(store: Path | None = None) -> tuple[str, str]:
    """The run keys of the plain run and of the final run."""
    plain, final = (next((base(store) / "runs").glob(f"*/loop/{stage}-*.json")) for stage in ("run", "final"))
    return tuple("{study}/{backend}/{number}/{stage}".format(**json.loads(path.read_text())) for path in (plain, final))  # type: ignore[return-value]


@cache
def matrices(store: Path | None = None) -> set[str]:
    """The filled-in matrix of each run in a whole folder."""
    from mfbench.report.filled import filled_table
    from mfbench.runs.record_files import read_record

    here = Path.cwd()
    os.chdir(base(store))
    try:
        tables = [filled_table(read_record(path)) for path in Path("runs").glob("*/*/*.json")]
    finally:
        os.chdir(here)
    return {table for table in tables if table}


def commands(store: Path | None = None) -> dict[str, list[str]]:
    """The nine commands, by name."""
    plain, final = keys(store)
    return {
        "compare": ["compare", "--json"],
        "reproduce the final": ["reproduce", final, "--json"],
        "reproduce the run": ["reproduce", plain, "--json"],
        "recommend": ["recommend", final, "--user", "1", "--json"],
        "similar": ["similar", plain, "--item", "1", "--json"],
        "sync": ["sync", "--json"],
        "report": ["report", "state", "--json"],
        "run": ["run", "plain.yaml", "--json"],
        "sweep": ["sweep", "spec.yaml", "--json"],
    }


def command(*words: str, seconds: float = SECONDS) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in this process; a Late after so many seconds."""
    from mfbench.commands.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["mfbench", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), at_most(seconds):
            main()
        code: Any = 0
    except SystemExit as left:
        code = left.code or 0
    finally:
        sys.argv = before
    return int(code), out.getvalue(), err.getvalue()


@contextlib.contextmanager
def undrawn() -> Iterator[None]:
    """Pictures are saved without being drawn, which is most of the time of a report."""
    from matplotlib.figure import Figure

    def savefig(_: Figure, file: io.BytesIO, **how: Any) -> None:
        file.write(b"<svg xmlns='http://www.w3.org/2000/svg'/>" if how["format"] == "svg" else b"")

    with mock.patch.object(Figure, "savefig", savefig):
        yield


def numbers(name: str, out: str, store: Path | None = None) -> Any:
    """What of an answer must be the same whatever was damaged, by run key where there are several."""
    try:
        answer = json.loads(out.splitlines()[-1])
    except (IndexError, ValueError):
        return None
    match name:
        case "compare":
            scores = ("K", "alpha", "beta", "epochs", "valid_rmse", "test_rmse", "train_rmse")
            return {
                run["run_key"]: [run.get(score) for score in scores] for board in answer["boards"] for run in board["runs"]
            }
        case "report":
            filled, board = (Path("results", SPEC["name"], file) for file in ("filled.csv", "leaderboard.csv"))
            rows = csv.DictReader(board.read_text().splitlines()) if board.exists() else []
            apart = {row["run_key"]: [row["difference_low"], row["difference_high"]] for row in rows if row.get("difference")}
            matrix = filled.read_text() if filled.exists() else None
            return apart | ({"the filled-in matrix": matrix} if matrix not in (None, *matrices(store)) else {})
        case "run":
            return {name: answer[name] for name in ("valid_rmse", "valid_mae", "evaluation", "factors_digest")}
        case "sweep":
            return {one["run_key"]: [one["K"], one["test_rmse"], one["evaluation"]] for one in answer["finals"]}
        case "recommend" | "similar":
            return answer
        case _:
            return answer.get("reproduced")


# --- damage ----------------------------------------------------------------------------------------------------------


def files(folder: Path) -> list[Path]:
    """The files that mfbench wrote, without locks and MLflow's artifacts."""
    found = [path for part in ("runs", "data") for path in (folder / part).rglob("*") if path.is_file()]
    return sorted([folder / "mlflow.db", *(path for path in found if not path.name.endswith(".lock"))])


def damage(rng: random.Random, folder: Path) -> str:
    """Damage a file; what was done, in a few words."""
    path = rng.choice(files(folder))
    kinds: list[Callable[[random.Random, Path], str]] = [cut, zeros, flipped, junk, emptied, removed, a_folder, another]
    if path.suffix in (".json", ".jsonl"):
        kinds += [a_value] * 8
    if path.suffix == ".npz":
        kinds += [an_array] * 8
    kind = rng.choice(kinds)
    return f"{path.relative_to(folder)}: {kind.__name__} {kind(rng, path)}"


def cut(rng: random.Random, path: Path) -> str:
    content = path.read_bytes()
    at = rng.randrange(len(content) + 1)
    path.write_bytes(content[:at])
    return str(at)


def zeros(rng: random.Random, path: Path) -> str:
    content = path.read_bytes()
    at = rng.randrange(len(content) + 1)
    path.write_bytes(content[:at] + bytes(len(content) - at))
    return str(at)


def flipped(rng: random.Random, path: Path) -> str:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 10, 1000]) if content else 0):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return ""


def junk(rng: random.Random, path: Path) -> str:
    path.write_bytes(rng.randbytes(rng.choice([1, 100, 10_000])))
    return ""


def emptied(_: random.Random, path: Path) -> str:
    path.write_bytes(b"")
    return ""


def removed(_: random.Random, path: Path) -> str:
    path.unlink()
    return ""


def a_folder(_: random.Random, path: Path) -> str:
    path.unlink()
    path.mkdir()
    return ""


def another(rng: random.Random, path: Path) -> str:
    root = next(parent for parent in path.parents if (parent / "spec.yaml").exists())
    alike = [other for other in files(root) if other != path and other.suffix == path.suffix] or files(root)
    other = rng.choice(alike)
    path.write_bytes(other.read_bytes())
    return str(other.relative_to(root))


def a_value(rng: random.Random, path: Path) -> str:
    """Another value of a key, or a key less, anywhere in a JSON file; the seal stays, so that it can tell."""
    try:
        tree = json.loads(path.read_text().splitlines()[0] if path.suffix == ".jsonl" else path.read_text())
    except (ValueError, IndexError):
        return ""
    places = [place for place in walk(tree) if place[1] != "seal"]
    node, key = rng.choice(places)
    if isinstance(node, dict) and rng.random() < 0.3:
        del node[key]
        says = f"without {key}"
    else:
        old = node[key]
        numeric = isinstance(old, int | float) and not isinstance(old, bool)
        node[key] = old * 1.5 + 1 if numeric and rng.random() < 0.5 else rng.choice(HOSTILE)
        says = f"{key} = {str(node[key])[:40]!r}"
    path.write_text(json.dumps(tree) + "\n")
    return says


def walk(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Each place in a tree, as the node that has it and its key there."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from walk(tree[key])


def an_array(rng: random.Random, path: Path) -> str:
    """An array less, of another dtype, shape or order, or with another value, saved as NumPy does."""
    try:
        with np.load(path) as file:
            arrays = dict(file)
    except Exception:  # damaged already
        return ""
    name = rng.choice(sorted(arrays))
    array, n = arrays[name], arrays[name].size
    changes: dict[str, Callable[[], Any]] = {
        "missing": lambda: None,
        "empty": lambda: array[..., :0] if array.ndim else np.empty(0),
        "shorter": lambda: array.ravel()[: n // 2],
        "longer": lambda: np.concatenate([array.ravel(), array.ravel()]),
        "transposed": lambda: array.reshape(1, -1),
        "a number": lambda: np.array(3),
        "another dtype": lambda: np.arange(n) + 0.5 if array.dtype.kind in "iU" else np.zeros(array.shape, "<i8"),
        "text": lambda: np.array(["x"] * max(n, 1)),
        "reversed": lambda: array[::-1] if array.ndim else array,
        "huge values": lambda: np.full(array.shape, 2**31 - 1 if array.dtype.kind == "i" else 1e30).astype(array.dtype),
        "negative values": lambda: np.full(array.shape, -7).astype(array.dtype),
        "not finite": lambda: np.full(array.shape, np.nan),
    }
    how = rng.choice(sorted(changes))
    changed = changes[how]()
    kept = {key: value for key, value in arrays.items() if key != name} | ({} if changed is None else {name: changed})
    np.savez(path, allow_pickle=False, **kept)
    return f"{name} {how}"


# --- the attempt -----------------------------------------------------------------------------------------------------


def attempt(
    rng: random.Random, folder: Path, among: Sequence[str] | None = None, n: int = 9, store: Path | None = None
) -> Verdict:
    """Damage a copy of the folder, and run the commands there, n of them, in an order drawn anew.

    among: the names of the commands to choose from. store: as `base` takes it.
    """
    place = folder / "here"
    shutil.copytree(base(store), place, symlinks=True)
    os.chdir(place)
    says = damage(rng, place)
    names = list(among or commands(store))
    rng.shuffle(names)
    worst = Verdict("accepted", "", says)
    drawn = ".json" in says.split(": ")[0] or ".errors.npz" in says.split(": ")[0]
    for name in names[:n]:
        shown = f"{says}; {name}"
        try:
            with contextlib.nullcontext() if drawn else undrawn():
                code, out, err = command(*commands(store)[name])
        except (Exception, Late) as error:  # what a fuzzer looks for
            frames = [f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)[-3:]]
            return Verdict("wrong", f"{type(error).__name__} at {' '.join(frames)}: {str(error)[:160]!r}", shown)
        for line in err.splitlines():
            if line.startswith("mfbench: ") and (wrong := refusal(line.rstrip("\n"))):
                return Verdict("wrong", wrong, shown)
        found = numbers(name, out, store)
        if (
            found is not None
            and not (name.startswith("reproduce") and found is False and "was changed after" in err)
            and (apart := differs(known(name, store), found))
        ):
            return Verdict("wrong", f"another answer: {apart}", shown)
        if code:
            worst = Verdict("clean", err.strip().splitlines()[-1] if err.strip() else f"exit code {code}", shown)
    return worst


def differs(was: Any, now: Any) -> str | None:
    """How an answer differs; of several runs, some may be left out."""
    if isinstance(was, dict) and isinstance(now, dict):
        apart = [key for key in now if key not in was or was[key] != now[key]]
        return f"{apart[0]}: {str(was.get(apart[0]))[:80]} became {str(now[apart[0]])[:80]}" if apart else None
    return None if was == now else f"{was} became {now}"


if __name__ == "__main__":
    for setting in ("MFBENCH_DATA", "MLFLOW_TRACKING_URI"):
        os.environ.pop(setting, None)
    fuzz(attempt, __file__, 1000)
