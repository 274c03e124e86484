"""The published results: data set, split, metric, model, value, source, and what to keep in mind."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mfbench.core.errors import InputError
from mfbench.runs.records import Record

LINES = Path(__file__).with_name("lines.yaml")


@dataclass(frozen=True)
class Line:
    """One published result.

    split: its name in `lines.yaml`. metric: `rmse` or `mae`. part: the part on which a run is compared with it. digits: of
    the value, after the point. model_class: see `backends_of`. K: its number of factors, if that is published. matches: the
    keys of a spec's split that make it the same one, None if no split here is. same_cells: whether the test ratings are
    then the very same, not only as many, drawn at random.
    """

    data: str
    split: str
    metric: str
    part: str
    value: float
    digits: int
    model: str
    model_class: str
    K: int | None
    source: str
    caveat: str | None
    matches: dict[str, Any] | None
    same_cells: bool

    @property
    def shown(self) -> str:
        """The value with the digits that were published."""
        return f"{self.value:.{self.digits}f}"

    @property
    def rounding(self) -> float:
        """How far the value may be from the exact one."""
        return 0.5 * 10.0**-self.digits

    def as_dict(self) -> dict[str, Any]:
        """The result as `--json` has it; `metric` is the name of ours that it is compared with."""
        told = {name: value for name, value in asdict(self).items() if name not in ("digits", "matches", "part")}
        metric = f"{self.part}_{self.metric}"
        return {**told, "metric": metric, "shown": self.shown, "comparable": self.matches is not None}

    def is_of(self, record: Record) -> bool:
        """Whether a run has the data and the split of this result; a cross-validation must have all of its folds."""
        data, split = record.spec.data, record.spec.split
        if data.dataset != self.data or data.entry is not None or self.matches is None:
            return False
        if any(getattr(split, key, None) != value for key, value in self.matches.items()):
            return False
        folds = record.intervals.get(f"{self.part}_{self.metric}")
        return split.kind != "kfold" or (folds is not None and folds.n >= self.matches["folds"])


@cache
def every_line() -> tuple[Line, ...]:
    """All published results, in the order of the file."""
    tree = _tree()
    return tuple(_line(tree, {**group["of"], **one}) for group in tree["groups"] for one in group["lines"])


def lines_of(dataset: str | None = None) -> list[Line]:
    """The published results on a data set, or all; InputError if there are none.

    >>> [line.shown for line in lines_of("ml-10m")][:2]
    ['0.7756', '0.7720']
    """
    found = [line for line in every_line() if dataset in (None, line.data)]
    if not found:
        known = ", ".join(dict.fromkeys(line.data for line in every_line()))
        raise InputError(f"references {dataset}: no published results on this data set; choose from {known}")
    return found


def backends_of(model_class: str) -> list[str]:
    """The backends that train a model of that class."""
    found: list[str] = _tree()["classes"][model_class]
    return found


@cache
def _tree() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(LINES.read_text(encoding="utf-8"))
    return tree


def _line(tree: dict[str, Any], one: dict[str, Any]) -> Line:
    split = tree["splits"][one["split"]]
    assert one["class"] in tree["classes"], one
    return Line(
        data=one["data"],
        split=one["split"],
        metric=one["metric"],
        part=split["part"],
        value=float(one["value"]),
        digits=len(one["value"].partition(".")[2]),
        model=one["model"],
        model_class=one["class"],
        K=one.get("K"),
        source=tree["sources"][one["source"]],
        caveat=one.get("caveat"),
        matches=split.get("matches"),
        same_cells=split.get("same_cells", False),
    )
