"""What a person is told when something is wrong: one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mfbench.core.errors import MfbenchError


@contextmanager
def refused(error: type[MfbenchError], *says: str) -> Iterator[pytest.ExceptionInfo[MfbenchError]]:
    """What is done in here is refused with this error, in one sentence in which all of these words stand."""
    __tracebackhide__ = True
    with pytest.raises(error) as caught:
        yield caught
    sentence = str(caught.value)
    assert "\n" not in sentence, sentence
    for words in says:
        assert words in sentence, f"{words!r} is not in {sentence!r}"
