"""The source of all random numbers: one seed, an independent stream for each purpose."""

import numpy as np

PURPOSES = ("split", "start", "order", "sampler", "groups", "bootstrap", "sample")


def seed_for(seed: int, purpose: str, *more: int) -> np.random.SeedSequence:
    """The child seed for one of PURPOSES; `more` numbers further children, e.g. the batches of a search."""
    return np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose), *more))


def generator(seed: int, purpose: str, *more: int) -> np.random.Generator:
    """A new generator for one of PURPOSES: the same arguments give the same numbers.

    Each purpose has a stream of its own, so drawing more numbers for one does not change those of another.

    >>> generator(7, "start").integers(0, 100, 4).tolist()
    [68, 48, 39, 5]
    >>> generator(7, "order").integers(0, 100, 4).tolist()
    [39, 63, 78, 48]
    """
    return np.random.default_rng(seed_for(seed, purpose, *more))
