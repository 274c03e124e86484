"""What is promised to be the same bits on any number of cores is."""

from __future__ import annotations

import json
import os
import sys

import pytest
from processes import python

from mfbench.backends.registry import resolve
from mfbench.matrix.factors import digest_of
from mfbench.testing import small_ratings, train_models

BACKENDS: tuple[tuple[str, dict[str, str]], ...] = (
    ("jax", {}), ("adam", {}), ("mlp", {}), ("als", {}), ("adam", {"device": "cpu"}), ("mlp", {"device": "cpu"}),
)  # fmt: skip


def digests() -> dict[str, str]:
    train = small_ratings(n_users=300, n_items=200, n=9000)
    return {
        f"{name} {knobs}": digest_of(train_models(resolve(name, knobs), train, K=20, epochs=2)[-1].arrays())
        for name, knobs in BACKENDS
    }


@pytest.mark.usefixtures("workplace")
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be kept to one core here")
def test_the_bits_do_not_depend_on_the_number_of_cores() -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("there is one core only")
    on_all = digests()
    status, out, err = python(__file__, str(cores[0]))
    assert status == 0, err
    assert json.loads(out) == on_all


if __name__ == "__main__":  # the same on one core, in a process that has never seen the others
    os.sched_setaffinity(0, [int(sys.argv[1])])
    print(json.dumps(digests()))  # noqa: T201
