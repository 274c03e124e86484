"""Best values at a bound of their range, and the wider range to try next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mfbench.spec import FloatRange, IntRange, NumberRange

NEAR = 0.05
"""A value is at the edge if its distance to a bound is at most this share of the range (log ranges: on the log scale)."""

End = Literal["lower", "upper"]


@dataclass(frozen=True)
class Edge:
    """A value that lies at the lower or upper bound of its range `given`; `wider` is None if the range cannot be extended."""

    name: str
    value: float
    end: End
    given: NumberRange
    wider: NumberRange | None

    def sentence(self) -> str:
        """The finding as a sentence, with the range to try."""
        finding = f"the best {self.name}, {plain(self.value)}, is at the {self.end} bound of its range [{_bounds(self.given)}]"
        if self.wider:
            return f"{finding}: try {self.name}: {as_yaml(self.wider)}"
        return f"{finding}, which cannot be extended"

    def summary(self) -> dict[str, Any]:
        """This edge in the output of `--json`."""
        wider = self.wider.bounds if self.wider else None
        return {"name": self.name, "value": self.value, "end": self.end, "range": self.given.bounds, "try": wider}


def edge_of(name: str, value: float, given: NumberRange) -> Edge | None:
    """The edge at which a value lies; None if it lies well inside the range, or both bounds are almost equal.

    >>> edge_of("K", 62, IntRange(int=(4, 64))).wider.bounds
    (4, 120)
    """
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
    """Double the range beyond its lower or upper bound, on its own scale; the new bound is rounded to two digits.

    None if the range cannot be extended: a float is at least 0, an int at least 1, and no bound may overflow or underflow.

    >>> wider(FloatRange(float=(0.001, 0.1), log=True), "upper").bounds
    (0.001, 10.0)
    """
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
    """The range as written in a spec."""
    kind = "int" if isinstance(given, IntRange) else "float"
    return f"{{{kind}: [{_bounds(given)}]{', log: true' if given.log else ''}}}"


def plain(value: float, digits: int | None = 3) -> str:
    """A number without exponent, as YAML reads `1e-5` as text; floats have `digits` significant digits (None: all)."""
    if isinstance(value, int):
        return str(value)
    return np.format_float_positional(value, digits, unique=digits is None, fractional=False, trim="-")


def _rounded(beyond: float, edge: float) -> float:
    """The new bound with two significant digits, or as many as it takes to stay beyond the old bound."""
    rounded = (float(f"{beyond:.{digits}g}") for digits in range(2, 18))
    return next(bound for bound in rounded if bound != edge and (bound > edge) == (beyond > edge))


def _ranging(given: NumberRange, lo: float, hi: float) -> NumberRange:
    if isinstance(given, IntRange):
        return IntRange(int=(round(lo), round(hi)), log=given.log)
    return FloatRange(float=(lo, hi), log=given.log)


def _bounds(given: NumberRange) -> str:
    return ", ".join(plain(end, None) for end in given.bounds)
