"""The pictures of a search by name, each drawn when first used and then cached."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from mfbench.report.curves import mae_curves, trial_curves
from mfbench.report.search_pictures import alpha_beta_map, importance_bars, sweep_picture, trade_off_picture
from mfbench.report.style import save, save_page
from mfbench.search.outcome import Swept

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A title, a caption, and the function that draws it, narrow if its argument is True."""

    title: str
    says: str
    draw: Callable[[bool], Figure]

    @cached_property
    def png(self) -> bytes:
        """The picture as PNG."""
        return save(self.draw(False))

    @property
    def narrow_png(self) -> bytes:
        """The picture as PNG for a narrow screen."""
        return save(self.draw(True))

    @property
    def pdf(self) -> bytes:
        """The picture as PDF, without a date or a version in it, so that the bytes depend on the records alone."""
        buffer = io.BytesIO()
        self.draw(False).savefig(buffer, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
        return buffer.getvalue()

    def page(self, title: str) -> bytes:
        """The picture as one HTML page with tooltips."""
        return save_page(self.draw(False), title)


def gallery(swept: Swept) -> dict[str, Picture]:
    """The pictures of a sweep that has trials, by file name without suffix, in the order of the report.

    If nothing was searched (one trial per backend), those of what each trial tried are left out.
    """
    runs, trials, shares = swept.runs, swept.all_trials, swept.importances
    objective = trials[0].objective
    title = f"{objective.title} (reversed, better is lower)" if objective.higher_is_better else objective.title
    pictures = {
        "learning_curves": Picture(
            "Learning curves", "All trials are faint, the best trial of each backend is strong.", partial(trial_curves, runs)
        ),
        "mae": Picture(
            "MAE", "By epoch, for the best trial of each backend; a floor is a horizontal line.", partial(mae_curves, runs)
        ),
        "trade_off": Picture(
            f"{'RMSE' if objective.name == 'valid_rmse' else objective.title} against training time",
            "The line joins the Pareto front: trials that no other trial beats in both.",
            partial(trade_off_picture, trials),
        ),
        "sweep": Picture("What each trial tried", f"The best {title} of each trial.", partial(sweep_picture, runs)),
        "alpha_beta": Picture(
            "Step size and penalty",
            f"Colour is {objective.title}, size is K; a cross is a trial that diverged.",
            partial(alpha_beta_map, trials),
        ),
        "importance": Picture(
            "Importance", "How much each hyperparameter mattered, by backend.", partial(importance_bars, shares)
        ),
    }  # fmt: skip
    left_out = (set() if shares else {"importance"}) | (set() if swept.is_searched else {"sweep", "alpha_beta", "importance"})
    return {name: picture for name, picture in pictures.items() if name not in left_out}
