"""Names and titles from outside stay text wherever they are shown: in a terminal, a spreadsheet, Markdown, a picture."""

from __future__ import annotations

import re
import shlex

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that steer a terminal, break a line, reverse the order of what follows, or are no characters at all."""
FORMULA = re.compile(r"[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
"""How a formula begins in a spreadsheet (OWASP, CSV Injection): `= + - @`, also of full width, tab and carriage return."""


def visible(text: str) -> str:
    r"""The text with an escape sequence, such as `\x1b`, for each of these characters.

    >>> print(visible("\x1b[2Jred"))
    \x1b[2Jred
    """
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def visible_lines(text: str) -> str:
    """As `visible`, but with its line breaks."""
    return "\n".join(map(visible, text.split("\n")))


def in_spreadsheet(value: object) -> str:
    """A value as the text of a cell; a `'` is put before a text that a spreadsheet would compute. A number stays as it is.

    >>> in_spreadsheet("=1+1"), in_spreadsheet("-5"), in_spreadsheet(-5)
    ("'=1+1", '-5', '-5')
    """
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and FORMULA.match(text) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII) is not None


def in_markdown(text: str) -> str:
    r"""A name or a number without any meaning to Markdown, nor to the HTML that Markdown allows.

    >>> print(in_markdown("<b>|a.py:Mine"))
    &lt;b>\|a.py:Mine
    """
    return _without_tags_and_links(re.sub(r"([\\`*|])", r"\\\1", visible(text)))


def sentence_in_markdown(text: str) -> str:
    """A sentence of ours, in which names may stand: what it has as `code` stays so."""
    parts = re.split(r"((?<![`\\])`[^`]+`(?!`))", visible(text))
    parts[::2] = map(_without_tags_and_links, parts[::2])
    return "".join(parts)


def _without_tags_and_links(text: str) -> str:
    text = re.sub(r"&(?=#|\w+;)", "&amp;", text)
    return re.sub(r"\](?=[(\[])", r"\\]", re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text))


def as_code(text: str) -> str:
    """The text as code in Markdown, between as many backticks as it takes."""
    text = visible(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"


def in_shell(text: str) -> str:
    """The text as one word of a command line that a person may copy."""
    return shlex.quote(visible(text))


def in_picture(text: str) -> str:
    """The text for matplotlib, which would take what is between two `$` for mathematics."""
    return visible(text).replace("$", r"\$")
