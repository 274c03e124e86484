"""The objective of a search: the metric on valid by which its trials are judged, and which direction of it is better."""

from __future__ import annotations

import math
import re

from pydantic import BaseModel, ConfigDict

_LOWER = r"(rmse|mae)(_known)?(_user)?(_clipped)?|abs_error_(50|90|95)"
_HIGHER = r"(precision|recall|hit_rate|map|mrr|ndcg|coverage)_[1-9]\d*"
_NEITHER = r"(rmse|mae|bias)_(rating|activity|popularity)_.+|popularity_\d+|inside_\d+|n|n_.+"

OBJECTIVES = (
    "rmse and mae (with _known, _user, _clipped), abs_error_50, _90 and _95, and precision_K, recall_K, hit_rate_K, map_K,"
    " mrr_K, ndcg_K and coverage_K for each K of evaluation.k"
)
"""The built-in metrics that can be an objective, without `valid_`, for messages."""


def is_built_in(metric: str) -> bool:
    """Whether this is the name of a built-in metric, without the name of a part: `ndcg_10`, not `valid_ndcg_10`."""
    return re.fullmatch(f"{_LOWER}|{_HIGHER}|{_NEITHER}", metric) is not None


def higher_is_better(metric: str) -> bool | None:
    """The direction of a built-in metric, without the name of a part; None if neither is better, or it is not built in.

    >>> higher_is_better("ndcg_10"), higher_is_better("rmse_user"), higher_is_better("popularity_10")
    (True, False, None)
    """
    if re.fullmatch(_HIGHER, metric):
        return True
    return False if re.fullmatch(_LOWER, metric) else None


def list_length(metric: str) -> int | None:
    """The length k of the lists of a built-in ranking metric; None for any other metric.

    >>> list_length("ndcg_10"), list_length("abs_error_90")
    (10, None)
    """
    ranked = re.fullmatch(rf"{_HIGHER}|popularity_[6-9]|popularity_[1-9]\d+", metric)
    return int(metric.rpartition("_")[2]) if ranked else None


class Objective(BaseModel):
    """A metric by its whole name, such as `valid_ndcg_10`, and its direction."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "valid_rmse"
    higher_is_better: bool = False

    def cost(self, value: float | None) -> float:
        """The value as the search minimizes it: negated if higher is better, inf if it is missing or not finite."""
        if value is None or not math.isfinite(value):
            return math.inf
        return -value if self.higher_is_better else float(value)

    @property
    def title(self) -> str:
        """The metric as people write it.

        >>> Objective().title, Objective(name="valid_ndcg_10").title
        ('valid RMSE', 'valid_ndcg_10')
        """
        return title(self.name)


VALID_RMSE = Objective()
"""The objective of a sweep by default, and what orders a board of plain runs."""


def title(metric: str) -> str:
    """The name of a metric as people write it: `test RMSE` for test_rmse, and the name itself for longer ones."""
    part, _, name = metric.partition("_")
    return f"{part} {name.upper()}" if name in ("rmse", "mae") else metric
