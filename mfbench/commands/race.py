"""Races: backends against each other on the same data, rounds interleaved; updates a second, and time to a target.

Each start is a process of its own, pinned to its cores, so that nothing of one run warms or slows another, and its peak
memory is its own. Rounds go A B C, A B C: the speed of a machine drifts, and the drift then touches all alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING

from rich.table import Table

from mfbench.core import tables
from mfbench.core.errors import InputError, SpecError, WorkError
from mfbench.core.files import write_whole
from mfbench.core.machine import core_list
from mfbench.core.paths import RESULTS
from mfbench.data.splits import Parts, parts_of
from mfbench.report.style import COLOURS, save
from mfbench.runs.jobs import backend_of, job_of
from mfbench.runs.progress import ProgressBar, Watcher
from mfbench.runs.records import CURVES, Record
from mfbench.search.workers import Task, Workers
from mfbench.spec import Spec, SpecSource, load_spec, run_study_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Entry:
    """What races: a backend at one K on some number of threads."""

    backend: str
    K: int
    threads: int


@dataclass(frozen=True)
class Lap:
    """What the rounds of an entry gave; of each figure the median, and the least and the most of all rounds.

    updates_per_second: ratings visited in training a second, compiling and scoring aside. target_seconds: training time to
    the first scored epoch at or under the target, None where it was not reached. peak: MiB while preparing and training.
    """

    backend: str
    K: int
    threads: int
    rounds: int
    epochs: int
    updates_per_second: float
    updates_per_second_min: float
    updates_per_second_max: float
    compile_seconds: float
    evaluate_seconds: float
    target_epochs: int | None
    target_seconds: float | None
    target_seconds_min: float | None
    target_seconds_max: float | None
    best_valid_rmse: float | None
    prepare_peak_mib: float | None
    train_peak_mib: float | None
    prepare_bytes_per_rating: float | None
    train_bytes_per_rating: float | None


def run_race(spec: Spec, target: tuple[str, float] | None, watcher: Watcher) -> list[Lap]:
    """Let the entries of a spec's race run, round after round; SpecError where it has none, WorkError where one fails."""
    if spec.race is None:
        raise SpecError(f"{spec.name}: this spec has no race section; give it `race: {{backends: [...]}}`")
    cores = core_list()
    threads = sorted({len(cores) if one == "all" else min(one, len(cores)) for one in spec.race.threads})
    entries = [Entry(backend, K, n) for K in spec.race.K or [spec.model.K] for backend in spec.race.backends for n in threads]
    for backend in spec.race.backends:
        backend_of(spec.model, backend)
    parts = parts_of(spec)
    rounds: dict[Entry, list[Record]] = {entry: [] for entry in entries}
    for backend in spec.race.backends:
        watcher.study(backend, spec.race.rounds * len(entries) // len(spec.race.backends))
    for number, entry in enumerate(entries * spec.race.rounds):
        rounds[entry].append(_one(spec, parts, entry, number, cores[: entry.threads], watcher))
    return [_lap(entry, records, target) for entry, records in rounds.items()]


def _one(spec: Spec, parts: Parts, entry: Entry, number: int, cores: Sequence[int], watcher: Watcher) -> Record:
    made: list[Record] = []
    job = job_of(spec, f".races/{run_study_key(spec)}", entry.backend, "trial", number, changes={"K": entry.K})
    with Workers([cores]) as alone:
        alone.run_tasks([Task(jobs=[job], parts=parts.folder)], made.append, watcher.epoch)
    (record,) = made
    if record.outcome != "completed":
        raise WorkError(f"{entry.backend} at K={entry.K} {record.outcome} in the race: {record.reason}")
    return record


def _lap(entry: Entry, records: Sequence[Record], target: tuple[str, float] | None) -> Lap:
    first = records[0]
    n, K = first.data.n_train, entry.K
    speeds = [n * one.epochs / one.clocks.train_seconds for one in records]
    reached = [found for one in records if target and (found := _reached(one, *target))]
    seconds = [found[1] for found in reached]
    factors = 4 * (K + 1) * (first.data.n_users + first.data.n_items)

    def middle(figures: Iterable[float | None]) -> float | None:
        known = [figure for figure in figures if figure is not None]
        return median(known) if known else None

    def per_rating(stage: str) -> float | None:
        return middle((one.memory[stage] - one.memory["before"] - factors) / n for one in records if one.memory.get(stage))

    def mib(stage: str) -> float | None:
        return middle(one.memory[stage] / 2**20 for one in records if one.memory.get(stage))

    return Lap(
        **asdict(entry),
        rounds=len(records),
        epochs=first.epochs,
        updates_per_second=median(speeds),
        updates_per_second_min=min(speeds),
        updates_per_second_max=max(speeds),
        compile_seconds=median(one.clocks.compile_seconds for one in records),
        evaluate_seconds=median(one.clocks.evaluate_seconds for one in records),
        target_epochs=reached[0][0] if reached else None,
        target_seconds=middle(seconds),
        target_seconds_min=min(seconds, default=None),
        target_seconds_max=max(seconds, default=None),
        best_valid_rmse=first.valid_rmse,
        prepare_peak_mib=mib("prepare"),
        train_peak_mib=mib("train"),
        prepare_bytes_per_rating=per_rating("prepare"),
        train_bytes_per_rating=per_rating("train"),
    )


def target_of(text: str) -> tuple[str, float]:
    """`valid_rmse=0.87` as metric and value; InputError for another form."""
    metric, _, value = text.partition("=")
    try:
        if metric in CURVES:
            return metric, float(value)
    except ValueError:
        pass
    raise InputError(f"--target {text}: write it as METRIC=VALUE with a metric of {', '.join(CURVES)}, e.g. valid_rmse=0.87")


def _reached(record: Record, metric: str, target: float) -> tuple[int, float] | None:
    """The first scored epoch whose metric is at or under the target, and the training time until then."""
    scores = record.scores
    for epoch, value, seconds in zip(scores.epoch, getattr(scores, metric), scores.train_seconds, strict=True):
        if value is not None and value <= target:
            return epoch, seconds
    return None


def cells(laps: Sequence[Lap]) -> tuple[list[str], list[list[str]]]:
    """Header and body of the table for people."""

    def shown(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    header = ["backend", "K", "threads", "M updates/s", "least", "most", "compile s", "to target s", "epochs", "valid RMSE"]
    header += ["prepare B/rating", "train B/rating"]
    body = [
        [
            lap.backend, str(lap.K), str(lap.threads),
            *(f"{speed / 1e6:.1f}" for speed in
              (lap.updates_per_second, lap.updates_per_second_min, lap.updates_per_second_max)),
            f"{lap.compile_seconds:.2f}", shown(lap.target_seconds, ".3f"), shown(lap.target_epochs, "d"),
            shown(lap.best_valid_rmse, ".4f"), shown(lap.prepare_bytes_per_rating, ".1f"),
            shown(lap.train_bytes_per_rating, ".1f"),
        ]
        for lap in laps
    ]  # fmt: skip
    return header, body


def table(title: str, laps: Sequence[Lap]) -> Table:
    """The race for a terminal."""
    return tables.drawn(title, *cells(laps))


def race_picture(laps: Sequence[Lap]) -> Figure:
    """Updates a second of each lap, a bar from the median, a whisker from least to most."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.38 * len(laps)), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(dict.fromkeys(lap.backend for lap in laps), COLOURS, strict=False))
    for place, lap in enumerate(laps):
        least, middle, most = (getattr(lap, f"updates_per_second{end}") / 1e6 for end in ("_min", "", "_max"))
        axes.barh(place, middle, color=colours[lap.backend], alpha=0.85, height=0.7)
        axes.plot([least, most], [place, place], color="black", linewidth=1.2)
        axes.text(most, place, f"  {middle:.1f}", va="center", fontsize=8)
    axes.set_yticks(range(len(laps)), [f"{lap.backend}  K={lap.K}  {lap.threads} threads" for lap in laps])
    axes.invert_yaxis()
    axes.set_xlabel("million updates a second, training alone")
    return figure


def write_race(name: str, laps: Sequence[Lap]) -> None:
    """Write `results/<name>/race.csv`, `race.md` and `race.png`."""
    folder = RESULTS / name
    lines = [asdict(lap) for lap in laps]
    write_whole(folder / "race.csv", tables.as_csv(list(lines[0]), lines).encode())
    write_whole(folder / "race.md", tables.markdown(*cells(laps)).encode())
    write_whole(folder / "race.png", save(race_picture(laps)))


def race(spec: SpecSource, target: str | None = None, changes: Iterable[str] = ()) -> list[Lap]:
    """The race of a spec, each backend in turn, round after round; written to `results/<name>/` too.

    target: like `valid_rmse=0.87`, of a metric that is scored each epoch.
    """
    checked = load_spec(spec, changes)
    with ProgressBar() as bar:
        laps = run_race(checked, target_of(target) if target else None, bar)
    write_race(checked.name, laps)
    return laps
