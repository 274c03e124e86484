"""One training on a ring of devices: the same bits on 1 device, 4 virtual devices and 2 processes; speed and memory.

    python benchmarks/ring.py [--ratings 1000000] [--K 32] [--epochs 10] [--parts 4] [--out results/ring]

Trains on planted ratings with `jax`, `schedule: ring`. Virtual devices and processes share the cores of this machine, so
what they show is that the bits agree, what a process holds, and what the ring itself costs; not a speed-up beyond the cores.
Written to `ring.json` and `ring.md` in the folder `--out`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from mfbench.core.files import write_whole
from mfbench.core.machine import core_list
from mfbench.core.paths import RESULTS
from mfbench.core.tables import markdown
from mfbench.runs.record_files import read_record

WAYS: dict[str, tuple[list[str], dict[str, str]]] = {
    "1 device": ([], {}),
    "2 virtual devices": ([], {"JAX_NUM_CPU_DEVICES": "2"}),
    "4 virtual devices": ([], {"JAX_NUM_CPU_DEVICES": "4"}),
    "2 processes": (["--processes", "2"], {}),
    "4 processes": (["--processes", "4"], {}),
}


def main() -> None:
    """Train in each way, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--K", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument("--out", type=Path, default=RESULTS / "ring")
    given = parser.parse_args()
    out, lines = given.out.resolve(), []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("spec.yaml").write_text(json.dumps(spec_of(given)))
        for way in given.ways:
            lines.append(measured(way, given.epochs))
            print(json.dumps(lines[-1]), flush=True)
    same = len({line["factors_digest"] for line in lines}) == 1
    header = ["where", "SHA-256 of the model", "epochs/s", "M ratings/s", "peak MiB, each process"]
    body = [
        [
            line["way"], line["factors_digest"][:16], f"{line['epochs_per_second']:.2f}",
            f"{line['epochs_per_second'] * line['n_train'] / 1e6:.2f}", ", ".join(str(one) for one in line["peak_mib"]),
        ]
        for line in lines
    ]  # fmt: skip
    text = f"{given.ratings:,} planted ratings, K = {given.K}, {given.parts} parts, {len(core_list())} cores.\n\n"
    text += markdown(header, body) + f"\n{'All bits agree.' if same else 'THE BITS DIFFER.'}\n"
    print(text)
    write_whole(out / "ring.json", (json.dumps(lines, indent=1) + "\n").encode())
    write_whole(out / "ring.md", text.encode())
    sys.exit(0 if same else 1)


def spec_of(given: argparse.Namespace) -> dict[str, Any]:
    """The spec: with as many users and items for each rating as MovieLens-1M."""
    n = given.ratings
    return {
        "name": "ring",
        "data": {"planted": {"users": max(6, n // 166), "items": max(4, n // 270), "ratings": n}},
        "split": {"kind": "random", "valid": 0.1},
        "model": {
            "backend": "jax", "K": given.K, "alpha": 0.005, "epochs": given.epochs, "center": True, "bias": True,
            "evaluate_train": False, "evaluate_every": given.epochs,
            "options": {"jax": {"schedule": "ring", "parts": given.parts, "checkpoint_every": given.epochs}},
        },
        "evaluation": {"k": []},
    }  # fmt: skip


def measured(way: str, epochs: int) -> dict[str, Any]:
    """One run, and the peak memory of each process that trains."""
    words, settings = WAYS[way]
    command = [sys.executable, "-m", "mfbench", "run", "spec.yaml", *words, "--json"]
    peaks: dict[int, int] = {}
    with subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True) as process:
        own = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                for one in own.children() if words else [own]:
                    peaks[one.pid] = max(peaks.get(one.pid, 0), one.memory_info().rss)
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.02)
        assert process.stdout is not None
        answer = json.loads(process.stdout.read().splitlines()[-1])
    record = read_record(next(Path("runs").glob("ring-*/jax/run-0000.json")))
    return {
        "way": way,
        "factors_digest": answer["factors_digest"],
        "valid_rmse": answer["valid_rmse"],
        "epochs_per_second": epochs / answer["train_seconds"],
        "n_train": record.data.n_train,
        "compile_seconds": answer["compile_seconds"],
        "peak_mib": [peak >> 20 for _, peak in sorted(peaks.items())],
    }


if __name__ == "__main__":
    main()
