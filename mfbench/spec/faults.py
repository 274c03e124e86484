"""Pydantic's validation errors, reworded as one readable sentence."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import ValidationError


class Fault(NamedTuple):
    """One validation error: the path of keys to it, the message for the user, and pydantic's own error details."""

    steps: list[str]
    says: str
    detail: dict[str, Any]

    @property
    def key(self) -> str:
        """The path of keys, joined by dots."""
        return ".".join(self.steps)


def fault(error: ValidationError) -> Fault:
    """The first validation error: the message of our own checks as it is, a message of pydantic's with the rejected value."""
    detail: dict[str, Any] = {**error.errors(include_url=False)[0]}
    says = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "missing":
        says = "this key is missing; add it"
    elif detail["type"] in ("dict_type", "model_type", "model_attributes_type"):
        says = f"expected a mapping with keys of its own, not {detail['input']!r}"
    elif detail["type"] != "value_error":
        says = f"{says[0].lower()}{says[1:]}, not {detail['input']!r}"
    return Fault([str(step) for step in detail["loc"]], says, detail)
