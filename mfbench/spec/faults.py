"""What pydantic finds wrong, as a sentence for a person."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import ValidationError


class Fault(NamedTuple):
    """The first thing that is wrong: the keys that lead to it, what to say of it, and pydantic's own words for more."""

    steps: list[str]
    says: str
    detail: dict[str, Any]

    @property
    def key(self) -> str:
        """The keys with dots between them."""
        return ".".join(self.steps)


def fault(error: ValidationError) -> Fault:
    """The first fault. Of a check of our own its words, of pydantic's the words and the value that they are about."""
    detail: dict[str, Any] = {**error.errors(include_url=False)[0]}
    says = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "missing":
        says = "this key is missing"
    elif detail["type"] != "value_error":
        says = f"{says[0].lower()}{says[1:]}, not {detail['input']!r}"
    return Fault([str(step) for step in detail["loc"]], says, detail)
