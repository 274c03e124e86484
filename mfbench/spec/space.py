"""The search space of a spec: for each hyperparameter a range, a choice, or a single fixed value."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Discriminator, Tag, ValidationError, model_validator

from mfbench.spec.faults import fault
from mfbench.spec.fields import Strict, in_order
from mfbench.spec.model import FIRST, OF_MODEL, ModelSpec

Value = bool | int | float | str
Hyper = dict[str, Value]
"""Values of hyperparameters by name: K, alpha and beta first, then the others in alphabetical order."""


# Defined here because the fields `int` and `float` hide these types inside the classes below.
_INTEGER = int
EXACT = 2**53
_NUMBERS = (int, float)
_Ints = tuple[int, int]
_Floats = tuple[float, float]


def _lies(value: Any, bounds: tuple[float, float]) -> bool:
    return isinstance(value, _NUMBERS) and bounds[0] <= value <= bounds[1]


class IntRange(Strict):
    """The integers from lo to hi, both included; log: whether to search on a log scale."""

    int: Annotated[_Ints, AfterValidator(in_order)]
    log: bool = False

    @model_validator(mode="after")
    def _fits_log(self) -> IntRange:
        if max(map(abs, self.int)) > EXACT:
            raise ValueError(f"the range {list(self.int)} needs bounds of at most 2^53, beyond which floats skip integers")
        if self.log and self.int[0] < 1:
            raise ValueError(f"the range {list(self.int)} with log: true needs a lower bound of 1 or more")
        return self

    @property
    def bounds(self) -> _Ints:
        """The lowest and the highest value."""
        return self.int

    def samples(self) -> tuple[Value, ...]:
        """Representative values: if these are valid, so is every value of the range."""
        return self.int

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        return isinstance(value, _INTEGER) and _lies(value, self.int)


class FloatRange(Strict):
    """The real numbers from lo to hi, both included; log: whether to search on a log scale."""

    float: Annotated[_Floats, AfterValidator(in_order)]
    log: bool = False

    @model_validator(mode="after")
    def _fits_log(self) -> FloatRange:
        if self.log and self.float[0] <= 0:
            raise ValueError(f"the range {list(self.float)} with log: true needs a lower bound above 0")
        return self

    @property
    def bounds(self) -> _Floats:
        """The lowest and the highest value."""
        return self.float

    def samples(self) -> tuple[Value, ...]:
        """Representative values: if these are valid, so is every value of the range; one of them is not an integer."""
        low, high = self.float
        return low, low + (high - low) / math.pi, high

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        return _lies(value, self.float)


class Choice(Strict):
    """One of several values without an order, e.g. names."""

    choice: tuple[Value, ...]

    @model_validator(mode="after")
    def _some(self) -> Choice:
        if len({(type(value), value) for value in self.choice}) < max(2, len(self.choice)):
            raise ValueError(f"{list(self.choice)} must list at least 2 values, without duplicates")
        return self

    def samples(self) -> tuple[Value, ...]:
        """All values."""
        return self.choice

    def holds(self, value: Any) -> bool:
        """Whether a value is one of the choices."""
        return value in self.choice


NumberRange = IntRange | FloatRange
Range = NumberRange | Choice
Space = dict[str, Range]
"""The hyperparameters that are searched, by name, in the order of `Hyper`."""

KINDS = ("int", "float", "choice")


def ordered(names: Any) -> list[str]:
    """The names of hyperparameters in the order of all tables and records: K, alpha, beta, then alphabetically."""
    return [*(name for name in FIRST if name in names), *sorted(set(names) - set(FIRST))]


def _kind(entry: Any) -> str:
    if isinstance(entry, BaseModel):
        return next(iter(type(entry).model_fields))
    if isinstance(entry, dict):
        return next((kind for kind in KINDS if kind in entry), "float")
    return "value"


def _one_value(entry: Any) -> Any:
    if not isinstance(entry, Value):
        raise ValueError(
            f"{entry!r} is neither a range, as in {{int: [4, 64]}} or {{float: [0.001, 0.1]}},"
            " nor a choice, as in {choice: [a, b]}, nor a single value"
        )
    return entry


_Either = Annotated[
    Annotated[IntRange, Tag("int")]
    | Annotated[FloatRange, Tag("float")]
    | Annotated[Choice, Tag("choice")]
    | Annotated[Annotated[Value, BeforeValidator(_one_value)], Tag("value")],
    Discriminator(_kind),
]


def named(tree: Any) -> Any:
    """The entries that are not null; older records have nulls for hyperparameters that were not searched."""
    return {name: entry for name, entry in tree.items() if entry is not None} if isinstance(tree, dict) else tree


def _no_lists(tree: Any) -> Any:
    """ValueError for an entry that is a list, with the forms that it may be meant as."""
    for name, entry in tree.items() if isinstance(tree, dict) else ():
        if isinstance(entry, list | tuple):
            listed, forms = ", ".join(map(str, entry)), []
            numbers = all(isinstance(one, _NUMBERS) and not isinstance(one, bool) for one in entry)
            if len(entry) == 2 and numbers and entry[0] < entry[1]:
                whole = all(isinstance(one, _INTEGER) for one in entry) and name not in ("alpha", "beta")
                forms.append(f"{{{'int' if whole else 'float'}: [{listed}]}} for a range")
            if len(entry) > 1:
                forms.append(f"{{choice: [{listed}]}} for these values alone")
            raise ValueError(f".{name}: a list is no search space; write {' or '.join(forms) or 'the value by itself'}")
    return tree


def _of_the_model(space: dict[str, Range | Value]) -> dict[str, Range | Value]:
    """The search space, ordered, after checking that the model section accepts its values.

    The options of a backend are not checked here, since only the backend knows them. A message that begins with a dot
    continues the path of keys, see `reading`.
    """
    checked: dict[str, Range | Value] = {}
    for name in ordered(space):
        entry = space[name]
        if name not in OF_MODEL and name in ModelSpec.model_fields:
            raise ValueError(f".{name}: this key of model cannot be searched; those that can are {', '.join(OF_MODEL)}")
        if name in FIRST and isinstance(entry, IntRange | FloatRange) and isinstance(entry, IntRange) != (name == "K"):
            kind, example = ("float", "{int: [4, 64]}") if name == "K" else ("int", "{float: [0.001, 0.1]}")
            raise ValueError(f".{name}: {name} cannot have a range of kind {kind}; write it as in {example}")
        try:
            for value in entry.samples() if isinstance(entry, Strict) else (entry,):
                model = ModelSpec().with_hyper("", {name: value}, check=True) if name in OF_MODEL else None
        except ValidationError as error:
            raise ValueError(f".{name}: {fault(error).says}") from None
        checked[name] = getattr(model, name) if name in FIRST and not isinstance(entry, Strict) else entry
    return checked


SpaceSpec = Annotated[dict[str, _Either], BeforeValidator(_no_lists), BeforeValidator(named), AfterValidator(_of_the_model)]
"""A search space: by name a range, {int: [lo, hi]} or {float: [lo, hi]}, a choice, {choice: [a, b]}, or a single value.

A range may have `log: true`. The names are those of `OF_MODEL`, where init is the scale of the initialization, and the
options of the backend. A hyperparameter that is not named keeps the model's value. A space without any range or choice means
that nothing is searched; the study then has a single trial.
"""

DEFAULT_SPACE: dict[str, Range | Value] = {
    "K": IntRange(int=(4, 64), log=True),
    "alpha": FloatRange(float=(0.0005, 0.05), log=True),
    "beta": FloatRange(float=(0.001, 0.5), log=True),
}
