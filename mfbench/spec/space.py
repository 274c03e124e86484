"""The space of a search: a range for each hyperparameter, or the one value that it has."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Discriminator, Tag, model_validator

from mfbench.spec.fields import Count, Penalty, StepSize, Strict, in_order


class IntRange(Strict):
    """Whole numbers from lo to hi, both included."""

    int: Annotated[tuple[int, int], AfterValidator(in_order)]
    log: bool = False

    @model_validator(mode="after")
    def _positive(self) -> IntRange:
        if self.int[0] < 1:
            raise ValueError(f"the range {list(self.int)} must start at 1 or above")
        return self


class FloatRange(Strict):
    """Numbers from lo to hi, both included."""

    float: Annotated[tuple[float, float], AfterValidator(in_order)]
    log: bool = False

    @model_validator(mode="after")
    def _positive(self) -> FloatRange:
        if self.float[0] < 0 or (self.log and self.float[0] == 0):
            raise ValueError(f"the range {list(self.float)} must start {'above' if self.log else 'at or above'} 0")
        return self


class Space(Strict):
    """The range of each hyperparameter that is searched."""

    K: IntRange | None = None
    alpha: FloatRange | None = None
    beta: FloatRange | None = None


def _range_or_value(given: Any) -> str:
    return "range" if isinstance(given, dict | BaseModel) else "value"


_EITHER = Discriminator(_range_or_value)


class SpaceSpec(Strict):
    """The range in which a hyperparameter is searched, or the one value that it has: {float: [0.001, 0.1]}, or 0.005.

    One that is not named has the model's value. Where none has a range nothing is searched, and a study is one trial.
    """

    K: Annotated[Annotated[IntRange, Tag("range")] | Annotated[Count, Tag("value")], _EITHER] | None = None
    alpha: Annotated[Annotated[FloatRange, Tag("range")] | Annotated[StepSize, Tag("value")], _EITHER] | None = None
    beta: Annotated[Annotated[FloatRange, Tag("range")] | Annotated[Penalty, Tag("value")], _EITHER] | None = None


DEFAULT_SPACE = SpaceSpec(
    K=IntRange(int=(4, 64), log=True),
    alpha=FloatRange(float=(0.0005, 0.05), log=True),
    beta=FloatRange(float=(0.001, 0.5), log=True),
)
