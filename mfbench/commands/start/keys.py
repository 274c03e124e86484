"""The reference of all keys of a spec, made from the classes that check it: Markdown for people, JSON Schema for editors."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import mfbench
from mfbench.core.errors import InputError
from mfbench.core.files import write_whole
from mfbench.spec import Spec
from mfbench.spec.fields import Strict

SCHEMA = "mfbench.schema.json"
TITLE = "A spec of mfbench"


def schema() -> dict[str, Any]:
    """The JSON Schema of a spec, each key with its description; it cannot express what several keys must have together."""
    tree = Spec.model_json_schema()
    tree["title"], tree["$comment"] = TITLE, f"written by mfbench {mfbench.__version__}"
    for name, part in [("Spec", tree), *tree["$defs"].items()]:
        prose, keys = _described(_classes()[name])
        part["description"] = prose
        for key, one in part.get("properties", {}).items():
            one.pop("title", None)
            if key in keys or "const" in one:
                one["description"] = keys.get(key, "says that the other keys are these")
    return tree


def write_schema(folder: Path) -> Path:
    """Write the schema as `mfbench.schema.json`, in the place of an older one; InputError if another file is there."""
    path = folder / SCHEMA
    if path.exists() and TITLE not in path.read_text(encoding="utf-8", errors="replace"):
        raise InputError(f"{path}: this file is not one that mfbench wrote; move it away, since the schema goes there")
    write_whole(path, (json.dumps(schema(), indent=1) + "\n").encode())
    return path


def markdown(section: str = "") -> str:
    """The keys as Markdown: a heading and a table for each section, with type, default and meaning.

    section: only this one and those inside it, e.g. `sweep`; InputError if there is none.
    """
    tree, seen, parts = schema(), list[str](), list[str]()
    for path, part in _sections("", tree, tree):
        name = path.split(" ")[0]
        if name not in seen:
            seen.append(name)
        if not section or name == section or name.startswith(f"{section}."):
            parts.append(_section(path, part))
    if not parts:
        raise InputError(f"keys {section}: a spec has no such section; choose from {', '.join(filter(None, seen))}")
    return "\n".join(parts)


def _sections(path: str, part: dict[str, Any], tree: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each mapping of a spec with its path: the spec itself, then depth-first the sections inside."""
    yield path, part
    for key, one in part.get("properties", {}).items():
        inside = f"{path}.{key}".lstrip(".")
        for name in dict.fromkeys(_references(one)):
            found = tree["$defs"][name]
            kind = found["properties"].get("kind", {}).get("const")
            yield from _sections(f"{inside} (kind: {kind})" if kind else inside, found, tree)


def _references(one: dict[str, Any]) -> Iterator[str]:
    """The names of the classes whose keys stand directly under this key. Of a search space, those of an entry are the type."""
    for choice in (one, *one.get("anyOf", []), *one.get("oneOf", [])):
        if "$ref" in choice:
            yield choice["$ref"].rpartition("/")[2]


def _section(path: str, part: dict[str, Any]) -> str:
    lines = [f"## {path or 'The spec'}", "", part["description"], ""]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, one in part["properties"].items():
        default = "required" if key in part.get("required", []) else f"`{_yaml(one.get('default'))}`"
        if "$ref" in one and default != "required":
            default = "those of its own keys"
        cells = [f"`{key}`", _type(one), default, one.get("description", "")]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _type(one: dict[str, Any]) -> str:
    """A type of JSON Schema in a few words."""
    choices = one.get("anyOf") or one.get("oneOf")
    if choices:
        return " or ".join(dict.fromkeys(_type(choice) for choice in choices))
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        return _RANGES.get(name, "mapping")
    if "const" in one:
        return f"`{one['const']}`"
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    if one.get("type") == "array":
        items = [_type(item) for item in one["prefixItems"]] if "prefixItems" in one else [_type(one.get("items", {}))]
        return f"[{', '.join(items)}]" if "prefixItems" in one else f"list of {items[0]}"
    if one.get("type") == "object":
        inside = one.get("additionalProperties")
        return f"mapping of names to {_type(inside)}" if isinstance(inside, dict) and inside else "mapping"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [
        f"{sign} {one[name]:{',' if isinstance(one[name], int) else 'g'}}" for name, sign in bounds.items() if name in one
    ]
    return " ".join([_WORDS.get(one.get("type", ""), "any value"), ", ".join(limits)]).strip()


_WORDS = {"string": "text", "boolean": "true or false", "null": "null", "integer": "integer", "number": "number"}
_RANGES = {"IntRange": "{int: [lo, hi]}", "FloatRange": "{float: [lo, hi]}", "Choice": "{choice: [...]}"}


def _yaml(value: Any) -> str:
    """A default as it would stand in YAML; mappings without the keys that are null or false."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(one)}" for key, one in value.items() if one not in (None, False)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return str(value) if isinstance(value, str) else json.dumps(value)


# --- descriptions, from the docstrings -------------------------------------------------------------------------------


def _classes() -> dict[str, type[BaseModel]]:
    found, left = dict[str, type[BaseModel]](), [Strict]
    while left:
        one = left.pop()
        found[one.__name__] = one
        left += one.__subclasses__()
    return found


def _described(of: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """What a class is for, and the meaning of each field, from `name: ...` and `name, name: ...` in its docstring."""
    prose, keys = list[str](), dict[str, str]()
    names = "|".join([*of.model_fields, "Leakage"])
    entry = re.compile(rf"(?:^|(?<=\s))((?:(?:{names}), )*(?:{names})): ")
    bases = [base for base in of.__mro__ if issubclass(base, Strict) and base is not Strict]
    for base in bases:
        for paragraph in inspect.cleandoc(base.__doc__ or "").split("\n\n"):
            before, *rest = entry.split(" ".join(paragraph.split()))
            if base is of and before:
                prose.append(before.strip())
            for named, text in zip(rest[::2], rest[1::2], strict=True):
                if named == "Leakage":
                    prose += [f"Leakage: {text.strip()}"] if base is of else []
                else:
                    keys = {**dict.fromkeys(named.split(", "), text.strip()), **keys}
    return " ".join(prose), keys
