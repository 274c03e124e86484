"""Average ranks of the backends over the data sets of a suite, and which of them differ (Demšar, JMLR 7, 2006)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from mfbench.core.arrays import Floats64
from mfbench.report.significance import LEVEL
from mfbench.report.style import COLOURS, sheet
from mfbench.report.suites.cells import Cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INSTALL = "pip install 'mfbench[suite]'"


@dataclass(frozen=True)
class Ranks:
    """The ranks of backends by test RMSE, 1 the lowest.

    backends: those with any result. rmse: float64 [datasets, backends], infinite where a backend has no result, which ranks
    last. n: the number of data sets. mean: the average rank by backend. critical: two average ranks that are further apart
    than this differ, by the test of Nemenyi at 5 %. friedman: the p-value of Friedman's test that all backends are the same;
    None for fewer than three.
    """

    backends: list[str]
    rmse: Floats64
    mean: dict[str, float]
    critical: float
    friedman: float | None

    @property
    def n(self) -> int:
        """The number of data sets."""
        return len(self.rmse)

    @property
    def sentence(self) -> str:
        """What the ranks say, and what they cannot."""
        apart = self.critical > len(self.backends) - 1
        says = (
            f"ranks are by test RMSE, their means over {self.n} data sets; two means differ if they are more than"
            f" {self.critical:.2f} apart (Nemenyi, 5 %)"
        )
        says += "; so none of them can, and only more data sets would help" if apart else ""
        return says + (
            f"; that all backends are equal has p = {self.friedman:.2g} (Friedman)" if self.friedman is not None else ""
        )

    def summary(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {"mean": self.mean, "critical_difference": self.critical, "friedman_p": self.friedman}


def ranks(cells: Sequence[Cell], datasets: Sequence[str], backends: Sequence[str]) -> Ranks | None:
    """The ranks over the data sets with a result; None with fewer than two data sets or backends to compare."""
    from scipy.stats import friedmanchisquare, rankdata, studentized_range  # takes half a second to import

    rmse = {(cell.dataset, cell.backend): cell.rmse for cell in cells if cell.rmse is not None}
    here = [name for name in backends if any(backend == name for _, backend in rmse)]
    rows = [
        [rmse.get((dataset, name), math.inf) for name in here] for dataset in datasets if any(d == dataset for d, _ in rmse)
    ]
    n, k = len(rows), len(here)
    if min(n, k) < 2:
        return None
    table = np.array(rows, dtype=np.float64)
    placed = rankdata(table, axis=1)
    # The quantile of the studentized range over √2, at infinitely many degrees of freedom (Demšar, 3.2.2).
    critical = float(studentized_range.ppf(1 - LEVEL, k, np.inf)) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))
    friedman = float(friedmanchisquare(*placed.T).pvalue) if k > 2 else None
    return Ranks(here, table, dict(zip(here, placed.mean(axis=0).tolist(), strict=True)), critical, friedman)


def can_be_drawn() -> bool:
    """Whether the extra `suite` is installed."""
    return find_spec("scikit_posthocs") is not None


def rank_picture(found: Ranks, narrow: bool = False) -> Figure:
    """The critical-difference diagram: a bar joins those that cannot be told apart."""
    import pandas as pd
    from scikit_posthocs import critical_difference_diagram, posthoc_nemenyi_friedman
    from scipy.stats import rankdata

    table = pd.DataFrame(rankdata(found.rmse, axis=1), columns=found.backends)
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(sorted(found.backends))}
    figure = sheet(7.2, 1.8 + 0.25 * len(found.backends), narrow)
    axes = figure.add_subplot()
    drawn = critical_difference_diagram(
        found.mean, posthoc_nemenyi_friedman(table), ax=axes, color_palette=colours,
        label_fmt_left="{label} ({rank:.2f}) ", label_fmt_right=" ({rank:.2f}) {label}", label_props={"size": 9},
        left_only=narrow,
    )  # fmt: skip
    for [bar] in drawn["crossbars"]:  # each goes to and fro over a set of names, which has another order in each process
        ranked, height = bar.get_data()
        bar.set_data([min(ranked), max(ranked)], height[:2])
    # Drawn here, for the diagram's own `cd` lies on the labels of the axis.
    best = min(found.mean.values())
    axes.errorbar(best + found.critical / 2, 2, xerr=found.critical / 2, color="black", capsize=3)
    axes.text(best + found.critical / 2, 2.3, f"critical difference {found.critical:.2f}", size=9, ha="center")
    return figure
