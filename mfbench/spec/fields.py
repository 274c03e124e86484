"""What the keys of a spec have in common: strictness, and the kinds of values."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mfbench.core.paths import portable


class Strict(BaseModel):
    """A part of a spec: an unknown key is an error, and nothing changes it afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Seed = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
StepSize = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Penalty = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


def in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    """The bounds of a range, if the lower comes first."""
    if not bounds[0] < bounds[1]:
        raise ValueError(f"the range {list(bounds)} needs its lower end under its upper end")
    return bounds


def _portable_backend(name: str) -> str:
    place, colon, attribute = name.rpartition(":")
    return f"{portable(place)}{colon}{attribute}" if place.endswith(".py") else name


# A record has the whole spec in it, and no path of a machine.
FilePath = Annotated[str, AfterValidator(portable)]
BackendName = Annotated[str, AfterValidator(_portable_backend)]
