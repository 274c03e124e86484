"""How far two records of the same run agree: to the bit, or within a tolerance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mfbench.runs.records import CURVES, METRICS, Record

TOLERANCE = 1e-5
"""The largest relative difference that a metric may have on another processor, version or device.

Other vector instructions on the same processor changed no metric of 60 epochs of jax, adam or numba on 100,000 ratings by
more than 3e-7.
"""


@dataclass(frozen=True)
class Line:
    """One comparison: of a value, a curve, the evaluation, or the digest of the factors.

    agrees: to the bit, for a curve in all epochs. largest: the largest relative difference of a metric; None if there is no
    difference, or one of the values is missing. epoch: of that difference, for a curve.
    """

    what: str
    recorded: str
    here: str
    agrees: bool
    says: str
    largest: float | None = None
    epoch: int | None = None

    @property
    def is_near(self) -> bool:
        """Whether it agrees within the tolerance, or has no tolerance: factors, best epoch, evaluation.

        The evaluation has none because of its lists: predictions that are almost equal can rank other items.
        """
        near = self.largest is not None and self.largest <= TOLERANCE
        return self.agrees or near or self.what in ("factors", "best_epoch", "evaluation")


def compared_lines(was: Record, now: Record) -> Iterator[Line]:
    """Compare the numbers of two records of the same run, each number, curve and digest as one line."""
    for name in ("outcome", "reason", "epochs", "best_epoch"):
        yield from _single(name, getattr(was, name), getattr(now, name))
    for name in CURVES:
        if getattr(was.scores, name) or getattr(now.scores, name):
            old, new = (dict(zip(one.scores.epoch, getattr(one.scores, name), strict=False)) for one in (was, now))
            yield _many(f"{name} by epoch", old, new, _last(old), _last(new))
    for name in METRICS:
        if was.best_trial is None or not name.startswith("valid"):  # a final run inherits these from its trial
            yield from _single(name, getattr(was, name), getattr(now, name))
    if was.evaluation or now.evaluation:
        yield _many("evaluation", was.evaluation, now.evaluation, *(f"{len(one.evaluation)} metrics" for one in (was, now)))
    yield from _single("factors", was.factors_digest, now.factors_digest)


def _single(name: str, was: Any, now: Any) -> Iterator[Line]:
    if was is None and now is None:
        return
    old, new = (str(one)[:12] if name == "factors" else str(one) for one in (was, now))
    yield Line(name, old, new, was == now, "yes" if was == now else "no", _relative(was, now))


def _many(what: str, old: Mapping[Any, Any], new: Mapping[Any, Any], recorded: str, here: str) -> Line:
    """Compare numbers by epoch or by name, as one line."""
    keys = sorted(old.keys() | new.keys())
    same = [key for key in keys if key in old and key in new and old[key] == new[key]]
    apart = {key: _relative(old.get(key), new.get(key)) for key in keys if key not in same}
    known = {key: value for key, value in apart.items() if value is not None}
    where = max(known, key=lambda key: known[key]) if known and len(known) == len(apart) else None
    return Line(
        what, recorded, here, not apart, f"{len(same)} of {len(keys)}",
        None if where is None else known[where], where if isinstance(where, int) else None,
    )  # fmt: skip


def _last(curve: dict[int, float | None]) -> str:
    return str(curve[max(curve)]) if curve else "–"


def _relative(was: Any, now: Any) -> float | None:
    """The difference of two floats relative to the larger; None if they are equal, or not both are floats."""
    if was == now or not isinstance(was, float) or not isinstance(now, float):
        return None
    return abs(was - now) / max(abs(was), abs(now))
