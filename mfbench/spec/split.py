"""The split section of a spec: which ratings are held out as valid and test, and what leakage each kind allows."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from mfbench.spec.fields import Fraction, Seed, Strict

MOST_FOLDS = 10_000


def _two_folds(folds: int | tuple[str, ...]) -> int | tuple[str, ...]:
    if isinstance(folds, int) and folds < 2:
        raise ValueError(f"{folds} is too few folds for cross-validation; give 2 or more")
    if isinstance(folds, int) and folds > MOST_FOLDS:
        raise ValueError(f"{folds} is too many folds; give at most {MOST_FOLDS:,}")
    if isinstance(folds, tuple) and (len(folds) < 2 or len(set(folds)) < len(folds)):
        raise ValueError(f"{list(folds)} must name at least 2 folds, without duplicates")
    return folds


class _Fractions(Strict):
    """Fractions for valid and test.

    valid, test: the fraction of this part. train: that of the rest, which need not be given.
    """

    valid: Fraction
    test: Fraction = 0.0
    train: Fraction | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        train = 1 - self.valid - self.test
        if train <= 0 or (self.train is not None and abs(train - self.train) > 1e-9):
            fractions = {"train": self.train, "valid": self.valid, "test": self.test}
            shown = ", ".join(f"{name} {value}" for name, value in fractions.items() if value is not None)
            raise ValueError(f"the fractions don't add up: {shown}; train, valid and test must sum to 1, with train above 0")
        return self


class RandomSplit(_Fractions):
    """valid and test are drawn at random from all ratings; train is the rest.

    Leakage: train contains ratings that a user gave after the held-out ones, and reflects an item's popularity over the
    whole period. This is the easiest task of all kinds, and it does not measure how well future ratings are predicted.
    """

    kind: Literal["random"]
    seed: Seed = 0


class TemporalSplit(_Fractions):
    """Global cuts in time, the same for all users: train, then valid, then test, each strictly later than the one before.

    Ratings with the same timestamp as a cut all go to the earlier part, so the parts after a cut have at most their share.
    Leakage: none, since training never sees a rating from after the cut; a final run trains on train and valid, which end
    before test begins. Many users and items of test are new: see the counts of unknown ones, and the metrics over known
    users and items only.
    """

    kind: Literal["temporal"]


class _Counts(Strict):
    """Numbers of ratings to hold out per user. All ratings of a user with at most valid + test of them stay in train.

    valid, test: the number of ratings of each user in this part.
    """

    valid: Annotated[int, Field(ge=0)] = 0
    test: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _takes_some(self) -> Self:
        if self.valid + self.test == 0:
            raise ValueError("valid 0, test 0 hold nothing out; give a number of ratings per user, e.g. valid: 1")
        return self


class LastSplit(_Counts):
    """test is the last `test` ratings of each user by time, and valid the `valid` ratings before them.

    Ratings of a user with the same timestamp are ordered by item. All ratings of a user with at most valid + test of them
    stay in train. Leakage: nothing from a user's own future, but from that of others: users stop rating at different times,
    so train contains other users' ratings, and thus an item's popularity, from after a held-out rating.
    """

    kind: Literal["last"]


class LeaveOutSplit(_Counts):
    """`test` ratings of each user, drawn at random, and `valid` others: leave-one-out, or leave-k-out.

    All ratings of a user with at most valid + test of them stay in train. Leakage: as in a random split, train contains
    later ratings of the same user. Every user has the same weight, while a random split favours active users.
    """

    kind: Literal["leave-out"]
    seed: Seed = 0


class UsersSplit(_Fractions):
    """Hold out part of each sampled user's ratings; valid and test are fractions of the users with at least two ratings.

    known: the fraction of a sampled user's ratings that is drawn at random for train (at least one, and not all), since
    without any rating a user's factors cannot be learned; the rest is valid or test. All other users' ratings are train.
    Leakage: as in a random split, the known ratings may be later than the held-out ones. The known ratings of test users
    are already part of train during the search.
    """

    kind: Literal["users"]
    known: Annotated[float, Field(gt=0, lt=1)] = 0.5
    seed: Seed = 0


class TailSplit(Strict):
    """valid is the last fraction of the rows (as Keras's validation_split), after an optional shuffle.

    shuffle: the seed of `pandas.DataFrame.sample(frac=1, random_state=...)`, which the course behind the Keras example uses;
    None keeps the order of the file. Leakage: with a shuffle, as in a random split; without one, it depends on that order.
    """

    kind: Literal["tail"]
    valid: Fraction
    shuffle: Annotated[int, Field(ge=0, lt=2**32)] | None = None


class FoldSplit(Strict):
    """test is a fold that comes with the data set; valid is drawn at random from the remaining ratings.

    fold: the name of that fold, such as u1 of ml-100k. Leakage: depends on how the folds were made; those of MovieLens-100K
    were drawn at random.
    """

    kind: Literal["folds"]
    fold: str
    valid: Fraction = 0.0
    seed: Seed = 0


class KFoldSplit(Strict):
    """k-fold cross-validation: test is drawn at random first, the same for all folds; the rest is divided into folds.

    folds: the number of random folds of equal size (to within one rating), or the names of folds that come with the data
    set, as [u1, u2, u3, u4, u5] of ml-100k; valid is then the test part of such a fold. fold: the index of the fold that is
    valid, counted from 0, while the others are train; if None, every run and trial is repeated on each fold.

    Leakage: as in a random split. Each rating is in valid for one fold and in train for the others, so hyperparameters that
    are chosen by the mean over the folds depend on all of these ratings; only test stays unseen.
    """

    kind: Literal["kfold"]
    folds: Annotated[int | tuple[str, ...], AfterValidator(_two_folds)]
    fold: Annotated[int, Field(ge=0)] | None = None
    test: Fraction = 0.0
    seed: Seed = 0

    @model_validator(mode="after")
    def _is_there(self) -> KFoldSplit:
        if self.fold is not None and self.fold >= self.n_folds:
            raise ValueError(f"fold {self.fold} does not exist; give a number from 0 to {self.n_folds - 1}")
        return self

    @property
    def n_folds(self) -> int:
        """The number of folds."""
        return self.folds if isinstance(self.folds, int) else len(self.folds)


class NoSplit(Strict):
    """All ratings are train."""

    kind: Literal["none"]


SPLITS: dict[str, type[BaseModel]] = {
    "random": RandomSplit,
    "temporal": TemporalSplit,
    "last": LastSplit,
    "leave-out": LeaveOutSplit,
    "users": UsersSplit,
    "tail": TailSplit,
    "folds": FoldSplit,
    "kfold": KFoldSplit,
    "none": NoSplit,
}

Split = Annotated[
    RandomSplit | TemporalSplit | LastSplit | LeaveOutSplit | UsersSplit | TailSplit | FoldSplit | KFoldSplit | NoSplit,
    Field(discriminator="kind"),
]
