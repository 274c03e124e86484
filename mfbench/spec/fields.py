"""The base class of the sections of a spec, and the types of values that several of them use."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mfbench.core.paths import portable


class Strict(BaseModel):
    """A section of a spec: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Seed = Annotated[int, Field(ge=0, description="the seed of the random numbers")]
MOST = 2**31 - 1
"""The most of anything that is counted: users, items, factors, epochs."""
Count = Annotated[int, Field(ge=1, le=MOST)]
StepSize = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Penalty = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, description="its fraction of the ratings")]


def in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    """The bounds of a range unchanged; ValueError unless the lower bound is less than the upper one."""
    if not bounds[0] < bounds[1]:
        raise ValueError(f"the range {list(bounds)} needs a lower bound less than its upper bound")
    return bounds


def _portable_backend(name: str) -> str:
    module, colon, attribute = name.rpartition(":")
    return f"{_path(module)}{colon}{attribute}" if module.endswith(".py") else name


def _path(path: str) -> str:
    if "\0" in path:
        raise ValueError(f"{path!r} contains a NUL character, which no path can")
    return portable(path)


# Paths are made portable because a record contains the whole spec and must not depend on one machine.
FilePath = Annotated[str, AfterValidator(_path)]
BackendName = Annotated[str, AfterValidator(_portable_backend)]

OwnFunction = Annotated[str, AfterValidator(_portable_backend), Field(pattern=r"^.+:[A-Za-z_]\w*$")]
"""A function of the user's own: `path/to/mine.py:function` or `package.module:function`."""


def own_name(target: str) -> str:
    """The name of the function or class itself: `mrr` of `mine.py:mrr`."""
    return target.rpartition(":")[2]
