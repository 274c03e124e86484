"""What the fuzzers share: a verdict for each input, and campaigns that outlive a crash and a hang.

An input is drawn from its seed alone. Its verdict is `clean` (refused in one sentence), `accepted`, or `wrong`: a traceback,
a crash, more than 10 seconds of computing or of waiting, a message that is not one short line, or another number than
without the damage. Seconds in which other processes had the cores, or in which the campaign was suspended, do not count.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mfbench.core.errors import MfbenchError

SECONDS = 10.0
HANGS = 900.0  # of wall time: then even compiled code, which hears no signal, has had its time on a busy machine
LONGEST = 500
MEMORY = 8 << 30
SHOWN = 10
SAID_EVERY = 60.0  # seconds
LOOKS = 0.2  # seconds between looks at how long something has waited


@dataclass(frozen=True)
class Verdict:
    """kind: clean, accepted or wrong. says: what was said, or what is wrong. input: in a few words, to reproduce it."""

    kind: str
    says: str
    input: str = ""


class Late(BaseException):
    """Too much time has passed. Not an Exception: a run whose backend raises one is a failed run, and no error."""


Attempt = Callable[[random.Random, Path], Verdict]
"""Tries the input that the generator draws, in a folder of its own, which is the current one."""


def refusal(message: str) -> str | None:
    """What is wrong with a message for people; None if it is one short line without control characters."""
    if len(message) > LONGEST:
        return f"a message of {len(message)} characters: {message[:80]!r}"
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in message):
        return f"a message with a control character: {message[:200]!r}"
    return None


def judged(call: Callable[[], Any], shown: str) -> Verdict:
    """The verdict of one call, which raises an MfbenchError, something else, or nothing."""
    try:
        with at_most(SECONDS):
            call()
    except MfbenchError as error:
        wrong = refusal(str(error))
        return Verdict("wrong" if wrong else "clean", wrong or str(error), shown)
    except (Exception, Late) as error:  # what a fuzzer looks for
        return Verdict("wrong", _traced(error), shown)
    return Verdict("accepted", "", shown)


def _traced(error: BaseException) -> str:
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "mfbench" in frame.filename]
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
    return f"{type(error).__name__} at {where}: {str(error)[:160]!r}"


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise a Late in the block after so many seconds of computing, or of waiting for something else than a core."""
    computed, waited, wall, before = 0.0, 0.0, time.monotonic(), _threads()

    def look(_: int, __: object) -> None:
        nonlocal computed, waited, wall, before
        last, wall = wall, time.monotonic()
        known, before = before, _threads()
        on_core, queued = (
            sum(now[part] - known.get(thread, (0, 0))[part] for thread, now in before.items()) / 1e9 for part in (0, 1)
        )
        computed += on_core
        # Far more than the time between two looks passes for a suspended process. A thread's time in the queue is known late.
        waited = max(0.0, waited + min(wall - last - on_core - queued, 2 * LOOKS))
        if max(computed, waited) > seconds:
            raise Late(f"more than {seconds:g} s of {'computing' if computed > seconds else 'waiting'}")

    handler = signal.signal(signal.SIGALRM, look)
    left = signal.setitimer(signal.ITIMER_REAL, LOOKS, LOOKS)  # pytest has a timer too
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *left)


def _threads() -> dict[str, tuple[int, int]]:
    """Nanoseconds that each thread of this process and of its children had a core, and was ready without one; Linux only."""
    found: dict[str, tuple[int, int]] = {}
    processes = ["self"]
    for process in processes:
        for task in Path(f"/proc/{process}/task").glob("*"):
            with suppress(OSError):  # a thread that has ended
                on_core, queued, _ = map(int, (task / "schedstat").read_text().split())
                found[task.name] = (on_core, queued)
                processes += (task / "children").read_text().split()
    return found


def scratch() -> Path:
    """A new folder, which is removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="mfbench-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def tried(attempt: Attempt, seed: int, folder: Path) -> Verdict:
    """The verdict of the input of that seed; the folder is emptied of nothing, so it is to be a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    here = Path.cwd()
    os.chdir(folder)
    try:
        return attempt(random.Random(seed), folder)
    finally:
        os.chdir(here)


def main(attempt: Attempt, script: str, count: int) -> None:
    """The long form, by hand: `python benchmarks/fuzz_x.py [--count N] [--seed S] [--json]`; ends with 1 if any is wrong."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--count", type=int, default=count, help="number of inputs")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first; each further has the next")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    seeds = range(given.seed, given.seed + given.count)
    if given.child:
        _child(attempt, seeds)
        return
    verdicts: dict[int, Verdict] = {}
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is known until then is told
    said = time.monotonic()
    try:
        for seed, verdict in _campaign(script, seeds):
            verdicts[seed] = verdict
            if verdict.kind == "wrong" or time.monotonic() - said > SAID_EVERY:
                said = time.monotonic()
                words = f"{len(verdicts)} inputs, last --seed {seed}: {verdict.kind} {verdict.says}"
                print(words[:400], file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    kinds = Counter(verdict.kind for verdict in verdicts.values())
    wrong = {seed: verdict for seed, verdict in verdicts.items() if verdict.kind == "wrong"}
    print(", ".join(f"{kinds[kind]} {kind}" for kind in ("clean", "accepted", "wrong")))
    for seed, verdict in list(wrong.items())[:SHOWN]:
        print(f"--seed {seed} --count 1: {verdict.says} [{verdict.input[:300]}]")
    if given.json:
        first = {seed: asdict(verdict) for seed, verdict in list(wrong.items())[:SHOWN]}
        print(json.dumps({"inputs": len(verdicts), **kinds, "first": first}))
    sys.exit(1 if wrong else 0)


def _child(attempt: Attempt, seeds: range) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    told = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for seed in seeds:
        print(json.dumps([seed]), file=told, flush=True)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            verdict = tried(attempt, seed, Path(folder))
        print(json.dumps([seed, asdict(verdict)]), file=told, flush=True)


def _campaign(script: str, seeds: range) -> Iterator[tuple[int, Verdict]]:
    """The verdict of each seed, from processes that are started again after a crash or a hang."""
    at = seeds.start
    while at < seeds.stop:
        words = [sys.executable, script, "--child", "--seed", str(at), "--count", str(min(500, seeds.stop - at))]
        end = min(at + 500, seeds.stop)
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            while at < end:
                ready, _, _ = select.select([process.stdout], [], [], HANGS)
                line = process.stdout.readline() if ready else ""
                found = json.loads(line) if line.endswith("\n") else None
                if found is None:
                    if not ready:
                        process.kill()
                    code = process.wait()
                    yield (
                        at,
                        Verdict("wrong", f"no answer within {HANGS:g} s" if not ready else f"the process ended with {code}"),
                    )
                    at += 1
                    break
                if len(found) == 2:
                    yield found[0], Verdict(**found[1])
                    at = found[0] + 1
