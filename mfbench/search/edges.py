"""Best values at the edge of their range, and the range to try next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mfbench.spec import FloatRange, IntRange, NumberRange

NEAR = 0.05
"""A value within this share of its range from an end lies at the edge; of a log range on the log scale."""

End = Literal["lower", "upper"]


@dataclass(frozen=True)
class Edge:
    """A value of a hyperparameter that lies at an end of its range; `wider` is None where there is nothing beyond."""

    name: str
    value: float
    end: End
    given: NumberRange
    wider: NumberRange | None

    def sentence(self) -> str:
        """What lies where, and what to try."""
        told = f"the best {self.name}, {plain(self.value)}, lies at the {self.end} end of its range [{_bounds(self.given)}]"
        return f"{told}: try {self.name}: {as_yaml(self.wider)}" if self.wider else f"{told}, and there is nothing beyond"

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        wider = self.wider.bounds if self.wider else None
        return {"name": self.name, "value": self.value, "end": self.end, "range": self.given.bounds, "try": wider}


def edge_of(name: str, value: float, given: NumberRange) -> Edge | None:
    """The edge at which the value lies; None where it lies well inside, or the range is hardly more than one value."""
    lo, hi = given.bounds
    if math.isclose(lo, hi):
        return None
    scale = math.log if given.log else float
    place = (scale(value) - scale(lo)) / (scale(hi) - scale(lo))
    if NEAR < place < 1 - NEAR:
        return None
    end: End = "lower" if place <= NEAR else "upper"
    return Edge(name, value, end, given, wider(given, end))


def wider(given: NumberRange, end: End) -> NumberRange | None:
    """The range, as long again beyond that end, on its own scale; the new end has two digits. None if nothing is there."""
    lo, hi = given.bounds
    if end == "upper":
        beyond = hi * (hi / lo) if given.log else hi + (hi - lo)
        return _ranging(given, lo, _rounded(beyond, hi)) if math.isfinite(beyond) else None
    beyond = lo * (lo / hi) if given.log else max(0.0, lo - (hi - lo))
    least = 1.0 if isinstance(given, IntRange) else 0.0
    if lo == least or (given.log and beyond == 0):
        return None
    return _ranging(given, _rounded(max(least, beyond), lo), hi)


def as_yaml(given: NumberRange) -> str:
    """The range as a spec has it."""
    kind = "int" if isinstance(given, IntRange) else "float"
    return f"{{{kind}: [{_bounds(given)}]{', log: true' if given.log else ''}}}"


def plain(value: float, digits: int | None = 3) -> str:
    """A whole number, or one to so many significant digits (None: all), without an exponent: YAML takes `1e-5` for text."""
    if isinstance(value, int):
        return str(value)
    return np.format_float_positional(value, digits, unique=digits is None, fractional=False, trim="-")


def _rounded(beyond: float, edge: float) -> float:
    """The new end to two significant digits, or to as many as keep it beyond the edge."""
    rounded = (float(f"{beyond:.{digits}g}") for digits in range(2, 18))
    return next(one for one in rounded if one != edge and (one > edge) == (beyond > edge))


def _ranging(given: NumberRange, lo: float, hi: float) -> NumberRange:
    if isinstance(given, IntRange):
        return IntRange(int=(round(lo), round(hi)), log=given.log)
    return FloatRange(float=(lo, hi), log=given.log)


def _bounds(given: NumberRange) -> str:
    return ", ".join(plain(end, None) for end in given.bounds)
