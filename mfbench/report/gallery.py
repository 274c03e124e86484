"""The pictures of a search, each by its name, drawn when first asked for and then kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mfbench.report.curves import mae_curves, trial_curves
from mfbench.report.search_pictures import alpha_beta_map, importance_bars, sweep_picture, trade_off_picture
from mfbench.report.style import save, save_page
from mfbench.search.outcome import Swept

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """What it is called, what it shows, and how it is drawn."""

    title: str
    says: str
    draw: Callable[[], Figure]

    @cached_property
    def png(self) -> bytes:
        """It as PNG."""
        return save(self.draw())

    def page(self, title: str) -> bytes:
        """It as one HTML page, with words under the pointer."""
        return save_page(self.draw(), title)


def gallery(swept: Swept) -> dict[str, Picture]:
    """The pictures of a sweep that has trials, by the name of their file, in the order in which a report shows them."""
    runs, trials, shares = swept.runs, swept.all_trials, swept.importances
    pictures = {
        "learning_curves": Picture(
            "Learning curves", "All trials faint, the best of each backend strong.", lambda: trial_curves(runs)
        ),
        "mae": Picture("MAE", "By epoch, of the best of each backend; a floor is a level line.", lambda: mae_curves(runs)),
        "trade_off": Picture(
            "RMSE against training time",
            "The line joins the trials that none beats in both.",
            lambda: trade_off_picture(trials),
        ),
        "sweep": Picture("What each trial tried", "The best valid RMSE of each trial.", lambda: sweep_picture(runs)),
        "alpha_beta": Picture(
            "Step size and penalty", "Colour is valid RMSE, size is K, a cross diverged.", lambda: alpha_beta_map(trials)
        ),
        "importance": Picture(
            "What mattered", "Importance of each hyperparameter, by backend.", lambda: importance_bars(shares)
        ),
    }  # fmt: skip
    return {name: picture for name, picture in pictures.items() if name != "importance" or shares}
