"""Where the documentation of a term is: the one place in which such an address is made."""

from __future__ import annotations

from pathlib import Path

_README = Path(__file__).parents[1] / "README.md"
_SECTIONS = {
    "run": "the-words-of-a-run",
    "search": "the-words-of-a-sweep",
}


def docs_link(term: str) -> str:
    """The address of the section that explains a term: in the README of the package, relative to the current folder if below.

    >>> docs_link("search").rpartition("#")[2]
    'the-words-of-a-sweep'
    """
    readme = _README.relative_to(Path.cwd()) if _README.is_relative_to(Path.cwd()) else _README
    return f"{readme}#{_SECTIONS[term]}"
