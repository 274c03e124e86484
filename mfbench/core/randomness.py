"""All random numbers come from here: one seed, spawned by purpose, so that no draw disturbs another."""

import numpy as np

PURPOSES = ("split", "start", "order", "sampler", "groups", "bootstrap")


def seed_for(seed: int, purpose: str, *more: int) -> np.random.SeedSequence:
    """The child of `seed` for one of PURPOSES; `more` tells further children apart, e.g. the batch of a search."""
    return np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose), *more))


def generator(seed: int, purpose: str, *more: int) -> np.random.Generator:
    """A fresh generator for that purpose."""
    return np.random.default_rng(seed_for(seed, purpose, *more))
