"""The split of a spec: what is held out as valid and test, and what each kind can leak."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from mfbench.spec.fields import Fraction, Seed, Strict


def _two_folds(folds: int | tuple[str, ...]) -> int | tuple[str, ...]:
    if isinstance(folds, int) and folds < 2:
        raise ValueError(f"{folds} is too few to train on all but one; give 2 or more")
    if isinstance(folds, tuple) and (len(folds) < 2 or len(set(folds)) < len(folds)):
        raise ValueError(f"{list(folds)} must name at least 2 folds, each once")
    return folds


class _Fractions(Strict):
    """Shares; train is the rest."""

    valid: Fraction
    test: Fraction = 0.0
    train: Fraction | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        train = 1 - self.valid - self.test
        if train <= 0 or (self.train is not None and abs(train - self.train) > 1e-9):
            given = {"train": self.train, "valid": self.valid, "test": self.test}
            shown = ", ".join(f"{name} {value}" for name, value in given.items() if value is not None)
            raise ValueError(f"the fractions don't add up: {shown}; together they must be 1, with some left for train")
        return self


class RandomSplit(_Fractions):
    """valid and test are drawn at random from all ratings; train is the rest.

    What it can leak: a user's later ratings tell of the earlier ones that are judged, and an item's popularity is that of
    the whole time. It is the easiest of all tasks, and no forecast.
    """

    kind: Literal["random"]
    seed: Seed = 0


class TemporalSplit(_Fractions):
    """One cut through time for all: train, then valid, then test, each strictly later than the one before.

    Ratings of the second in which a cut falls all go to the earlier part, so valid and test have at most their share.
    What it can leak: nothing later than the cut reaches a training. A final run trains on train and valid, which end where
    test begins. Many users and items of test are new: see the counts of known ones, and the metrics over those alone.
    """

    kind: Literal["temporal"]


class _Counts(Strict):
    """Numbers of ratings of each user. One with no more than valid + test ratings stays in train wholly."""

    valid: Annotated[int, Field(ge=0)] = 0
    test: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _takes_some(self) -> Self:
        if self.valid + self.test == 0:
            raise ValueError("valid 0, test 0 hold nothing out; give the number of ratings of each user, e.g. valid: 1")
        return self


class LastSplit(_Counts):
    """The last `test` ratings of each user by time, and the `valid` before them; those of one second count in item order.

    A user with no more than valid + test ratings stays in train wholly. What it can leak: nothing of a user's own future,
    but of the others': users end at different times, so train has ratings, and an item's popularity, of after the cut.
    """

    kind: Literal["last"]


class LeaveOutSplit(_Counts):
    """`test` ratings of each user drawn at random, and `valid` more: leave-one-out and the like.

    A user with no more than valid + test ratings stays in train wholly. What it can leak: as a random split, the future of
    the same user. Each user counts alike, where a random split takes after the active ones.
    """

    kind: Literal["leave-out"]
    seed: Seed = 0


class UsersSplit(_Fractions):
    """Users are held out: valid and test are shares of the users with two ratings or more, not of the ratings.

    Of a user who is held out the share `known` of the ratings (at least one, and not all), drawn at random, is train, since
    factors say nothing of a user of whom nothing is known; the rest is valid or test. Who has one rating alone is train.
    What it can leak: the known ratings may be later than those that are judged, as in a random split; a test user's known
    ratings are train in the search, too.
    """

    kind: Literal["users"]
    known: Annotated[float, Field(gt=0, lt=1)] = 0.5
    seed: Seed = 0


class TailSplit(Strict):
    """The last fraction of the rows is the valid part (Keras's validation_split), after a shuffle where one is given.

    shuffle: the seed of `pandas.DataFrame.sample(frac=1, random_state=...)`, as the course behind the Keras example does.
    What it can leak: as a random split, once it is shuffled. Unshuffled, it means what the order of the file means.
    """

    kind: Literal["tail"]
    valid: Fraction
    shuffle: Seed | None = None


class FoldSplit(Strict):
    """A fold that the data set ships gives the test part; valid is drawn at random from the rest of it.

    What it can leak: what the fold does; those of MovieLens-100K were drawn at random.
    """

    kind: Literal["folds"]
    fold: str
    valid: Fraction = 0.0
    seed: Seed = 0


class KFoldSplit(Strict):
    """test is drawn at random first, the same for all folds; the rest is dealt at random into folds of one size.

    Valid is the fold `fold`, counted from 0, and train the others. Without `fold`, a run or a trial is made on each fold
    in turn. folds: how many, or the names of folds that the data set ships, as [u1, u2, u3, u4, u5] of ml-100k; then valid
    is what that fold gives as test, and train the rest.

    What it can leak: as `random`. Each rating is in the valid part of one fold and in the train parts of the others, so what
    is chosen by the mean over the folds has seen them all; only test has not been seen.
    """

    kind: Literal["kfold"]
    folds: Annotated[int | tuple[str, ...], AfterValidator(_two_folds)]
    fold: Annotated[int, Field(ge=0)] | None = None
    test: Fraction = 0.0
    seed: Seed = 0

    @model_validator(mode="after")
    def _is_there(self) -> KFoldSplit:
        if self.fold is not None and self.fold >= self.n_folds:
            raise ValueError(f"fold {self.fold} is not one of {self.n_folds}; they are counted from 0")
        return self

    @property
    def n_folds(self) -> int:
        """How many folds there are."""
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
