"""Progress: bars that end full, the time left of the whole sweep, and a line a batch where there is no terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from record_factory import altered, record
from rich.console import Console
from sweeping import Listener, swept

from mfbench.runs.jobs import BestTrial, Job
from mfbench.runs.progress import FINALS
from mfbench.runs.records import Record
from mfbench.search.progress_bar import Part, ProgressBar, seconds_left


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def job(number: int, backend: str = "jax", epochs: int = 10, final: bool = False) -> Job:
    made = record(number, backend=backend, stage="final" if final else "trial")
    best = BestTrial(number=number, valid_rmse=1.0, valid_mae=1.0) if final else None
    return Job(**made.names, spec=made.spec, hyper=made.hyper, epochs=epochs, best=best)


def trial(number: int, valid: float = 1.0, backend: str = "jax", **given: Any) -> Record:
    return altered(record(number, backend=backend, **given), valid_rmse=valid)


def shown(terminal: bool) -> tuple[ProgressBar, Clock, io.StringIO]:
    clock, text = Clock(), io.StringIO()
    return ProgressBar(clock, Console(file=text, force_terminal=terminal, width=100)), clock, text


def test_a_bar_is_full_once_all_its_runs_are_done() -> None:
    bar, _, text = shown(terminal=True)
    with bar:
        bar.expect({"jax": 10})
        for number in range(10):
            for epoch in range(1, 8):  # sevenths do not add up to one in floating point
                bar.epoch(job(number, epochs=7), epoch, 1.0)
            bar.done(trial(number))
    assert "10/10" in text.getvalue()


def test_runs_that_were_not_needed_finals_and_export_have_their_place() -> None:
    bar, _, text = shown(terminal=True)
    with bar:
        bar.expect({"jax": 60, "adam": 60, FINALS: 2})
        for number in range(3):
            bar.done(trial(number))
        bar.expect({"jax": 3})  # `sweep.stop` has ended the search
        bar.found(trial(0, backend="adam"))
        bar.expect({"adam": 1})
        bar.epoch(job(2, final=True), 5, 0.7)
        bar.done(trial(2, stage="final"))
        bar.exporting(7)
        bar.exporting(2)
    printed = text.getvalue()
    assert all(share in printed for share in ("3/3", "1/1", "1/2", "5/6", "5/7"))
    assert "0.7" not in printed  # the train RMSE of a final run is no best valid RMSE


def test_the_time_left_is_that_of_all_parts_each_at_its_own_pace() -> None:
    parts = {"loop": Part(runs=10, done=5, trained=5, seconds=50.0), "jax": Part(runs=10)}
    assert seconds_left(parts) == 5 * 10 + 10 * 10
    parts["jax"] = Part(runs=10, done=4, trained=4, seconds=4.0)
    assert seconds_left(parts) == 5 * 10 + 6 * 1
    parts["jax"].shares["a run"] = 0.5
    assert seconds_left(parts) == pytest.approx(50 + 5.5 * 4 / 4.5)
    assert seconds_left({"loop": Part(runs=10, done=4)}) is None  # found, and nothing trained yet


def test_without_a_terminal_there_is_a_line_a_batch_about_the_whole_sweep() -> None:
    bar, clock, text = shown(terminal=False)
    with bar:
        bar.expect({"jax": 4, "adam": 4, FINALS: 2})
        for number in (0, 1):
            bar.found(trial(number, 0.95))
        bar.batch("jax")  # all of it was found: nothing to say
        for number in (2, 3):
            clock.now += 30
            bar.done(trial(number, 0.9 + number))
        bar.batch("jax")
        bar.batch("jax")
    assert text.getvalue() == "jax: 4 of 4 runs, best RMSE 0.9500; 4 of 10 in all; about 3 min left\n"


def test_a_long_wait_for_the_export_is_one_line_without_a_terminal() -> None:
    bar, clock, text = shown(terminal=False)
    with bar:
        for left in range(100, 0, -1):
            bar.exporting(left)
            clock.now += 1
    assert text.getvalue() == "waiting for the export to MLflow: 89 left\n"


@pytest.mark.usefixtures("workplace")
def test_a_sweep_expects_all_its_runs_at_once_and_ends_with_those_that_ran(small: dict[str, Any]) -> None:
    class Counting(Listener):
        def __init__(self) -> None:
            super().__init__()
            self.expected: list[dict[str, int]] = []
            self.batches: list[str] = []

        def expect(self, runs: Any) -> None:
            self.expected.append(dict(runs))

        def batch(self, part: str) -> None:
            self.batches.append(part)

    small["sweep"]["backends"] = ["loop", "mean"]
    swept(small, "sweep.stop=1", watcher=(counting := Counting()))
    first, *later = counting.expected
    assert first == {"loop": 6, "mean": 1, FINALS: 2}
    runs = first | {name: number for one in later for name, number in one.items()}
    assert sum(runs.values()) == len(counting.heard) - len(counting.said)
    assert counting.batches == ["loop"] * (runs["loop"] // 3) + ["mean", FINALS]
