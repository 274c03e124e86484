"""The space of a search: for each hyperparameter by name a range, or the one value that it has."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Discriminator, Tag, ValidationError, model_validator

from mfbench.spec.faults import fault
from mfbench.spec.fields import Strict, in_order
from mfbench.spec.model import FIRST, OF_MODEL, ModelSpec

Value = bool | int | float | str
Hyper = dict[str, Value]
"""Values of hyperparameters by name: K, alpha and beta first, then the others by name."""


_Ints = tuple[int, int]
_Floats = tuple[float, float]  # by other names, for the fields below have those of the types


def _lies(value: Value, bounds: tuple[float, float]) -> bool:
    return not isinstance(value, str) and bounds[0] <= value <= bounds[1]


class IntRange(Strict):
    """Whole numbers from lo to hi, both included."""

    int: Annotated[_Ints, AfterValidator(in_order)]
    log: bool = False

    @model_validator(mode="after")
    def _fits_log(self) -> IntRange:
        if self.log and self.int[0] < 1:
            raise ValueError(f"the range {list(self.int)} must start at 1 or above where log is true")
        return self

    @property
    def bounds(self) -> _Ints:
        """The lowest and the highest value."""
        return self.int

    def samples(self) -> tuple[Value, ...]:
        """Values that stand for all: where these are right, all are."""
        return self.int

    def holds(self, value: Value) -> bool:
        """Whether a value lies in the range."""
        return _lies(value, self.int)


class FloatRange(Strict):
    """Numbers from lo to hi, both included."""

    float: Annotated[_Floats, AfterValidator(in_order)]
    log: bool = False

    @model_validator(mode="after")
    def _fits_log(self) -> FloatRange:
        if self.log and self.float[0] <= 0:
            raise ValueError(f"the range {list(self.float)} must start above 0 where log is true")
        return self

    @property
    def bounds(self) -> _Floats:
        """The lowest and the highest value."""
        return self.float

    def samples(self) -> tuple[Value, ...]:
        """Values that stand for all: where these are right, all are; one has a fraction."""
        low, high = self.float
        return low, low + (high - low) / math.pi, high

    def holds(self, value: Value) -> bool:
        """Whether a value lies in the range."""
        return _lies(value, self.float)


class Choice(Strict):
    """One of these values; they have no order."""

    choice: tuple[Value, ...]

    @model_validator(mode="after")
    def _some(self) -> Choice:
        if len({(type(value), value) for value in self.choice}) < max(2, len(self.choice)):
            raise ValueError(f"{list(self.choice)} must be 2 values or more, each once")
        return self

    def samples(self) -> tuple[Value, ...]:
        """All of them."""
        return self.choice

    def holds(self, value: Value) -> bool:
        """Whether it is one of them."""
        return value in self.choice


NumberRange = IntRange | FloatRange
Range = NumberRange | Choice
Space = dict[str, Range]
"""What is searched, by name, in the order of `Hyper`."""

KINDS = ("int", "float", "choice")


def ordered(names: Any) -> list[str]:
    """The names of hyperparameters in the order in which they stand everywhere."""
    return [*(name for name in FIRST if name in names), *sorted(set(names) - set(FIRST))]


def _kind(given: Any) -> str:
    if isinstance(given, BaseModel):
        return next(iter(type(given).model_fields))
    if isinstance(given, dict):
        return next((kind for kind in KINDS if kind in given), "float")
    return "value"


def _one_value(given: Any) -> Any:
    if not isinstance(given, Value):
        raise ValueError(f"{given!r} is neither a range, as in {{int: [4, 64]}} or {{float: [0.001, 0.1]}}, nor one value")
    return given


_Either = Annotated[
    Annotated[IntRange, Tag("int")]
    | Annotated[FloatRange, Tag("float")]
    | Annotated[Choice, Tag("choice")]
    | Annotated[Annotated[Value, BeforeValidator(_one_value)], Tag("value")],
    Discriminator(_kind),
]


def named(tree: Any) -> Any:
    """What is named with a value: older records have a null where nothing was."""
    return {name: given for name, given in tree.items() if given is not None} if isinstance(tree, dict) else tree


def _of_the_model(space: dict[str, Range | Value]) -> dict[str, Range | Value]:
    """The space in order, once the model could take each of the values; knobs are checked by their backend.

    A message that begins with a dot goes on with the key, see `reading`.
    """
    checked: dict[str, Range | Value] = {}
    for name in ordered(space):
        given = space[name]
        if name not in OF_MODEL and name in ModelSpec.model_fields:
            raise ValueError(f".{name}: this is not searched; of the model these can be: {', '.join(OF_MODEL)}")
        try:
            for value in given.samples() if isinstance(given, Strict) else (given,):
                taken = ModelSpec().with_hyper("", {name: value}, check=True) if name in OF_MODEL else None
        except ValidationError as error:
            raise ValueError(f".{name}: {fault(error).says}") from None
        if name in FIRST and isinstance(given, IntRange | FloatRange) and isinstance(given, IntRange) != (name == "K"):
            kind = "int: [4, 64]" if name == "K" else "float: [0.001, 0.1]"
            raise ValueError(f".{name}: the range of {name} is written as {{{kind}}}")
        checked[name] = getattr(taken, name) if name in FIRST and not isinstance(given, Strict) else given
    return checked


SpaceSpec = Annotated[dict[str, _Either], BeforeValidator(named), AfterValidator(_of_the_model)]
"""By name a range, {int: [lo, hi]}, {float: [lo, hi]} or {choice: [a, b]}, with `log: true` if asked for, or one value.

The names are K, alpha, beta, init (the scale of the start), center and bias, and the knobs of the backend. One that is not
named has the model's value. Where nothing has a range nothing is searched, and a study is one trial.
"""

DEFAULT_SPACE: dict[str, Range | Value] = {
    "K": IntRange(int=(4, 64), log=True),
    "alpha": FloatRange(float=(0.0005, 0.05), log=True),
    "beta": FloatRange(float=(0.001, 0.5), log=True),
}
