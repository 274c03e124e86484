"""Races: the speed of backends on the same data, as updates per second and time to a target.

Each run is a process of its own, pinned to its cores, so that it neither warms up nor slows down another and has its own
peak memory. Rounds are interleaved (A B C, A B C), so that a drift of the machine's speed affects all alike.
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
from mfbench.core.inert import in_picture
from mfbench.core.machine import core_list
from mfbench.core.paths import RESULTS
from mfbench.data.files.frames import with_frames_kept
from mfbench.data.splits import Parts, parts_of
from mfbench.report.style import COLOURS, save
from mfbench.runs.jobs import backend_of, job_of
from mfbench.runs.progress import Watcher
from mfbench.runs.records import Record
from mfbench.runs.scores import CURVES
from mfbench.search.progress_bar import ProgressBar
from mfbench.search.workers import Task, Workers
from mfbench.spec import Spec, SpecSource, load_spec, run_study_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Entry:
    """One competitor: a backend with one K and one number of threads."""

    backend: str
    K: int
    threads: int


@dataclass(frozen=True)
class Lap:
    """The result of an entry: of each figure the median of all rounds, of some also the minimum and maximum.

    updates_per_second: ratings visited per second of training, without compiling and scoring. target_seconds: training time
    until the first scored epoch at or below the target, None if it was not reached. ..._peak_mib: peak memory in MiB.
    ..._bytes_per_rating: that memory per training rating, without the process's memory at the start and the factors.
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
    """Run all rounds of a spec's race; SpecError if it has no race section, WorkError if a run does not complete."""
    race = spec.race
    if race is None:
        raise SpecError(f"{spec.name}: this spec has no race section; add `race: {{backends: [...]}}`")
    cores = core_list()
    threads = sorted({len(cores) if one == "all" else min(one, len(cores)) for one in race.threads})
    entries = [Entry(backend, K, n) for K in race.K or [spec.model.K] for backend in race.backends for n in threads]
    for backend in race.backends:
        backend_of(spec.model, backend)
    # A race measures whole epochs, so nothing may stop it.
    spec = spec.model_copy(update={"sweep": None, "model": spec.model.model_copy(update={"patience": None})})
    parts = parts_of(spec)
    watcher.say(parts.says)
    rounds: dict[Entry, list[Record]] = {entry: [] for entry in entries}
    watcher.expect(dict.fromkeys(race.backends, race.rounds * len(entries) // len(race.backends)))
    for number, entry in enumerate(entries * race.rounds):
        rounds[entry].append(_one(spec, parts, entry, number, cores[: entry.threads], watcher))
    return [_lap(entry, records, target) for entry, records in rounds.items()]


def _one(spec: Spec, parts: Parts, entry: Entry, number: int, cores: Sequence[int], watcher: Watcher) -> Record:
    made: list[Record] = []
    job = job_of(spec, f".races/{run_study_key(spec)}", entry.backend, "trial", number, changes={"K": entry.K})
    with Workers([cores]) as alone:
        alone.run_tasks([Task(jobs=[job], parts=parts.folder)], made.append, watcher.epoch)
    (record,) = made
    if record.outcome != "completed":
        raise WorkError(f"race: {entry.backend} with K={entry.K} {record.outcome} ({record.reason}); see {record.path}")
    watcher.done(record)
    watcher.batch(entry.backend)
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
    """Parse a target.

    >>> target_of("valid_rmse=0.87")
    ('valid_rmse', 0.87)
    """
    metric, _, value = text.partition("=")
    try:
        if metric in CURVES:
            return metric, float(value)
    except ValueError:
        pass
    raise InputError(f"--target {text}: write it as METRIC=VALUE, e.g. valid_rmse=0.87; the metrics are {', '.join(CURVES)}")


def _reached(record: Record, metric: str, target: float) -> tuple[int, float] | None:
    """The first scored epoch whose metric is at or below the target, and the training time until then."""
    scores = record.scores
    for epoch, value, seconds in zip(scores.epoch, getattr(scores, metric), scores.train_seconds, strict=True):
        if value is not None and value <= target:
            return epoch, seconds
    return None


def cells(laps: Sequence[Lap]) -> tuple[list[str], list[list[str]]]:
    """Header and body of the table as text."""

    def shown(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    header = ["backend", "K", "threads", "M updates/s", "min", "max", "compile s", "to target s", "epochs", "valid RMSE"]
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
    """The result of a race for a terminal."""
    return tables.drawn(title, *cells(laps))


def race_picture(laps: Sequence[Lap]) -> Figure:
    """Updates per second of each entry: a bar for the median, a line from minimum to maximum."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.38 * len(laps)), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(dict.fromkeys(lap.backend for lap in laps), COLOURS, strict=False))
    for place, lap in enumerate(laps):
        least, middle, most = (getattr(lap, f"updates_per_second{end}") / 1e6 for end in ("_min", "", "_max"))
        axes.barh(place, middle, color=colours[lap.backend], alpha=0.85, height=0.7)
        axes.plot([least, most], [place, place], color="black", linewidth=1.2)
        axes.text(most, place, f"  {middle:.1f}", va="center", fontsize=8)
    axes.set_yticks(range(len(laps)), [in_picture(f"{lap.backend}  K={lap.K}  {lap.threads} threads") for lap in laps])
    axes.invert_yaxis()
    axes.set_xlabel("million updates per second of training")
    return figure


def write_race(name: str, laps: Sequence[Lap]) -> None:
    """Write `results/<name>/race.csv`, `race.md` and `race.png`."""
    folder = RESULTS / name
    lines = [asdict(lap) for lap in laps]
    write_whole(folder / "race.csv", tables.as_csv(list(lines[0]), lines).encode())
    write_whole(folder / "race.md", tables.markdown(*cells(laps)).encode())
    write_whole(folder / "race.png", save(race_picture(laps)))


def race(spec: SpecSource, target: str | None = None, changes: Iterable[str] = ()) -> list[Lap]:
    """Run the race of a spec, and write the result to `results/<name>/`: `race.csv`, `race.md` and `race.png`.

    spec: a YAML file, a mapping or a Spec. target: measure the time to it, e.g. `valid_rmse=0.87`; a metric scored by epoch.
    changes: to the spec, e.g. `model.K=32`. InputError if the spec or the target is invalid.

    >>> import mfbench
    >>> spec = {
    ...     "name": "example",
    ...     "data": {"planted": {"users": 60, "items": 80, "ratings": 2000}},
    ...     "split": {"kind": "random", "valid": 0.1},
    ...     "model": {"K": 4, "alpha": 0.02, "epochs": 3},
    ...     "race": {"backends": ["loop"], "threads": [1], "rounds": 1},
    ... }
    >>> (lap,) = mfbench.race(spec)
    >>> lap.backend, lap.K, lap.threads, lap.updates_per_second > 0
    ('loop', 4, 1, True)
    """
    checked = load_spec(*with_frames_kept(spec, changes, None))
    with ProgressBar() as bar:
        laps = run_race(checked, target_of(target) if target else None, bar)
    write_race(checked.name, laps)
    return laps
