"""The spec: what one run or one sweep is told, as strict YAML checked by pydantic."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from mfbench.environment import portable
from mfbench.errors import SpecError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Seed = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
StepSize = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Penalty = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


def _in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] < bounds[1]:
        raise ValueError(f"the range {list(bounds)} needs its lower end under its upper end")
    return bounds


def _portable_backend(name: str) -> str:
    place, colon, attribute = name.rpartition(":")
    return f"{portable(place)}{colon}{attribute}" if place.endswith(".py") else name


# A record has the whole spec in it, and no path of a machine.
FilePath = Annotated[str, AfterValidator(portable)]
BackendName = Annotated[str, AfterValidator(_portable_backend)]


def _two_folds(folds: int | tuple[str, ...]) -> int | tuple[str, ...]:
    if isinstance(folds, int) and folds < 2:
        raise ValueError(f"{folds} is too few to train on all but one; give 2 or more")
    if isinstance(folds, tuple) and (len(folds) < 2 or len(set(folds)) < len(folds)):
        raise ValueError(f"{list(folds)} must name at least 2 folds, each once")
    return folds


# --- data ------------------------------------------------------------------------------------------------------------


class Planted(_Strict):
    """Parameters of a generated data set, see `mfbench.datasets.planted`."""

    users: int = Field(ge=1)
    items: int = Field(ge=1)
    ratings: int = Field(ge=1)
    seed: Seed = 0

    @model_validator(mode="after")
    def _fits(self) -> Planted:
        if self.ratings > self.users * self.items // 2:
            raise ValueError(
                f"{self.ratings} ratings are more than half of a {self.users} x {self.items} matrix; ask for fewer"
            )
        return self


COLUMNS = ("user", "item", "rating", "timestamp", "delimiter")


class Data(_Strict):
    """One of: a data set of the catalogue by name, a planted one by parameters, the user's own file."""

    dataset: str | None = None
    planted: Planted | None = None
    file: FilePath | None = None
    user: str = "user"
    item: str = "item"
    rating: str = "rating"
    timestamp: str | None = None
    delimiter: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if sum(source is not None for source in (self.dataset, self.planted, self.file)) != 1:
            raise ValueError("give exactly one of dataset, planted and file")
        named = [key for key in COLUMNS if getattr(self, key) != type(self).model_fields[key].default]
        if named and self.file is None:
            raise ValueError(f"{', '.join(named)}: only a file has columns to name")
        return self


# --- split -----------------------------------------------------------------------------------------------------------


class _Fractions(_Strict):
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


class _Counts(_Strict):
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


class TailSplit(_Strict):
    """The last fraction of the rows is the valid part (Keras's validation_split), after a shuffle where one is given.

    shuffle: the seed of `pandas.DataFrame.sample(frac=1, random_state=...)`, as the course behind the Keras example does.
    What it can leak: as a random split, once it is shuffled. Unshuffled, it means what the order of the file means.
    """

    kind: Literal["tail"]
    valid: Fraction
    shuffle: Seed | None = None


class FoldSplit(_Strict):
    """A fold that the data set ships gives the test part; valid is drawn at random from the rest of it.

    What it can leak: what the fold does; those of MovieLens-100K were drawn at random.
    """

    kind: Literal["folds"]
    fold: str
    valid: Fraction = 0.0
    seed: Seed = 0


class KFoldSplit(_Strict):
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


class NoSplit(_Strict):
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


# --- model -----------------------------------------------------------------------------------------------------------


class Init(_Strict):
    """How P and Q start: uniform in [lo, hi), or normal with mean 0 and this standard deviation."""

    uniform: Annotated[tuple[float, float], AfterValidator(_in_order)] | None = None
    normal: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one(self) -> Init:
        if (self.uniform is None) == (self.normal is None):
            raise ValueError("give exactly one of uniform: [lo, hi] and normal: s")
        return self


class ModelSpec(_Strict):
    """Backend and hyperparameters. `options` holds the knobs of each backend under its name."""

    backend: BackendName = "jax"
    K: Count = 16
    alpha: StepSize = 0.005
    beta: Penalty = 0.05
    epochs: int = Field(default=20, ge=1)
    center: bool = False
    bias: bool = False
    init: Init = Init(normal=0.1)
    seed: Seed = 0
    evaluate_every: int = Field(default=1, ge=1)
    evaluate_train: bool = True
    options: dict[BackendName, dict[str, Any]] = {}


# --- sweep -----------------------------------------------------------------------------------------------------------


class IntRange(_Strict):
    """Whole numbers from lo to hi, both included."""

    int: Annotated[tuple[int, int], AfterValidator(_in_order)]
    log: bool = False

    @model_validator(mode="after")
    def _positive(self) -> IntRange:
        if self.int[0] < 1:
            raise ValueError(f"the range {list(self.int)} must start at 1 or above")
        return self


class FloatRange(_Strict):
    """Numbers from lo to hi, both included."""

    float: Annotated[tuple[float, float], AfterValidator(_in_order)]
    log: bool = False

    @model_validator(mode="after")
    def _positive(self) -> FloatRange:
        if self.float[0] < 0 or (self.log and self.float[0] == 0):
            raise ValueError(f"the range {list(self.float)} must start {'above' if self.log else 'at or above'} 0")
        return self


class Space(_Strict):
    """The range of each hyperparameter that is searched."""

    K: IntRange | None = None
    alpha: FloatRange | None = None
    beta: FloatRange | None = None


def _range_or_value(given: Any) -> str:
    return "range" if isinstance(given, dict | BaseModel) else "value"


_EITHER = Discriminator(_range_or_value)


class SpaceSpec(_Strict):
    """The range in which a hyperparameter is searched, or the one value that it has: {float: [0.001, 0.1]}, or 0.005.

    One that is not named has the model's value. Where none has a range nothing is searched, and a study is one trial.
    """

    K: Annotated[Annotated[IntRange, Tag("range")] | Annotated[Count, Tag("value")], _EITHER] | None = None
    alpha: Annotated[Annotated[FloatRange, Tag("range")] | Annotated[StepSize, Tag("value")], _EITHER] | None = None
    beta: Annotated[Annotated[FloatRange, Tag("range")] | Annotated[Penalty, Tag("value")], _EITHER] | None = None


DEFAULT_SPACE = SpaceSpec(
    K=IntRange(int=(4, 64), log=True),
    alpha=FloatRange(float=(0.0005, 0.05), log=True),
    beta=FloatRange(float=(0.001, 0.5), log=True),
)


class Grid(_Strict):
    """How many values the grid has of each range: both ends and values evenly between them, in the log where it is log.

    A range of whole numbers has no value twice, so it may have fewer.
    """

    K: int | None = Field(default=None, ge=2)
    alpha: int | None = Field(default=None, ge=2)
    beta: int | None = Field(default=None, ge=2)


class Sweep(_Strict):
    """A study for each backend, over the same splits with the same number of trials.

    repeats: a trial is trained with so many seeds, the model's and those after it, and judged by its mean.
    sampler: what proposes the trials of a batch. `tpe`, `gp` and `cmaes` learn from the batches before; `gp` and `cmaes`
    need a package of their own. `grid` visits the points of `grid` in a drawn order, as many as there are `trials`.
    pruner: what stops a trial that is unlikely to win, by the batches before: `median`, worse than half of them at the same
    epoch, or `hyperband`, not among the best third of its bracket at a rung. Default `median`, `none` with two objectives.
    objectives: `valid_rmse` alone, or beside it `train_seconds` or `K`, all to be small. The final run is in each case that
    of the best valid_rmse. train_seconds is a clock: such a search cannot be repeated to the same trials.
    side_by_side: train all trials of a batch in one program, by a backend that can; by default where its device is an
    accelerator.
    """

    trials: int = Field(default=20, ge=1)
    batch: int = Field(default=8, ge=1)
    repeats: int = Field(default=1, ge=1)
    backends: list[BackendName] = Field(default=[], validate_default=True)
    sampler: Literal["tpe", "random", "grid", "gp", "cmaes"] = "tpe"
    grid: Grid | None = None
    pruner: Literal["none", "median", "hyperband"] = "median"
    objectives: list[Literal["valid_rmse", "train_seconds", "K"]] = ["valid_rmse"]
    side_by_side: bool | None = None
    space: SpaceSpec = DEFAULT_SPACE
    spaces: dict[BackendName, SpaceSpec] = {}

    @field_validator("backends")
    @classmethod
    def _once_each(cls, backends: list[str]) -> list[str]:
        if len(set(backends)) != len(backends):
            raise ValueError(f"{backends} names a backend twice; name each once")
        return backends

    @field_validator("objectives")
    @classmethod
    def _one_or_two(cls, objectives: list[str]) -> list[str]:
        if objectives not in (["valid_rmse"], ["valid_rmse", "train_seconds"], ["valid_rmse", "K"]):
            raise ValueError(
                f"{objectives} is not [valid_rmse], [valid_rmse, train_seconds] or [valid_rmse, K]; give one of these"
            )
        return objectives

    @model_validator(mode="before")
    @classmethod
    def _default_pruner(cls, tree: Any) -> Any:
        two = isinstance(tree, dict) and isinstance(tree.get("objectives"), list) and len(tree["objectives"]) == 2
        return {"pruner": "none", **tree} if two else tree

    @model_validator(mode="after")
    def _fits_together(self) -> Sweep:
        if len(self.objectives) == 2:
            if self.pruner != "none":
                raise ValueError(
                    f"{self.pruner} prunes by valid_rmse alone, so it cannot be used with two objectives; leave the pruner out"
                )
            if self.sampler in ("gp", "cmaes"):
                raise ValueError(f"the sampler {self.sampler} has one objective; with two, use tpe, random or grid")
        ranges = {name for space in (self.space, *self.spaces.values()) for name, given in space if isinstance(given, _Strict)}
        counts = {name for name, count in self.grid or () if count}
        if self.sampler == "grid" and ranges - counts:
            raise ValueError(
                f"a grid needs the number of values of each range, as in grid: {{K: 4, alpha: 5, beta: 3}};"
                f" give that of {', '.join(name for name in Space.model_fields if name in ranges - counts)}"
            )
        if self.sampler != "grid" and self.grid:
            raise ValueError(f"grid is for the sampler grid, and this one is {self.sampler}; leave one of them out")
        return self

    def space_of(self, backend: str) -> Space:
        """The ranges for `backend`: its own where `spaces` has one, else the common one."""
        ranges: dict[str, Any] = {n: given for n, given in self._given(backend).items() if isinstance(given, _Strict)}
        return Space(**ranges)

    def values_of(self, backend: str) -> dict[str, int | float]:
        """The values that `backend` is given instead of the model's, by name."""
        return {name: given for name, given in self._given(backend).items() if not isinstance(given, _Strict)}

    def _given(self, backend: str) -> dict[str, Any]:
        both = (self.space, self.spaces.get(backend, SpaceSpec()))
        return {name: given for space in both for name, given in space if given is not None}


class Race(_Strict):
    """Backends against each other with the model's hyperparameters: each at each K, on each number of threads."""

    backends: list[BackendName] = Field(min_length=1)
    K: list[Count] = []
    threads: list[Count | Literal["all"]] = [1, "all"]
    rounds: int = Field(default=3, ge=1)


class Evaluation(_Strict):
    """What lists of recommendations are judged by, see `mfbench.evaluation`; no part in the search.

    k: the lengths of the lists; none: no lists are made, which for millions of users and items saves minutes. relevant: the
    rating from which on an item is one that the user wants; 4 is for scales that end at 5.
    """

    k: list[Annotated[int, Field(ge=1)]] = [5, 10]
    relevant: float = Field(default=4.0, allow_inf_nan=False)


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]


class Spec(_Strict):
    """One experiment."""

    name: Name
    data: Data
    split: Split
    model: ModelSpec = ModelSpec()
    sweep: Sweep | None = None
    race: Race | None = None
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _spaces_are_used(self) -> Spec:
        unused = set(self.sweep.spaces if self.sweep else ()) - set(self.backends())
        if unused:
            raise ValueError(f"sweep.spaces has ranges for {', '.join(sorted(unused))}, which sweep.backends lacks")
        return self

    def backends(self) -> list[str]:
        """The backends of the sweep, in the order of the spec; the model's own where the sweep names none."""
        return (self.sweep.backends if self.sweep else []) or [self.model.backend]

    @property
    def folds(self) -> int:
        """On how many folds a run is made: all of a k-fold split, unless it names one of them."""
        return self.split.n_folds if isinstance(self.split, KFoldSplit) and self.split.fold is None else 1

    @property
    def seeds(self) -> int:
        """With how many seeds a trial is trained."""
        return self.sweep.repeats if self.sweep else 1

    def repeat(self, r: int) -> Spec:
        """The r-th repeat, this spec with one fold and one seed: each fold with the first seed, then with the next.

        Repeat 0 is this spec itself, where it needs no fold.
        """
        seed, fold = divmod(r, self.folds)
        split, model = self.split, self.model
        if self.folds > 1:
            split = split.model_copy(update={"fold": fold})
        if seed:
            model = model.model_copy(update={"seed": model.seed + seed})
        return self.model_copy(update={"split": split, "model": model})


# --- reading ---------------------------------------------------------------------------------------------------------


def load_spec(source: str | Path | Mapping[str, Any] | Spec, changes: Iterable[str] = ()) -> Spec:
    """The spec in a YAML file or a mapping, with `changes` like `model.K=32` made first; SpecError says what is wrong."""
    if isinstance(source, Spec):
        where, tree = "spec", source.model_dump(mode="json", exclude_unset=True)
    elif isinstance(source, Mapping):
        where, tree = "spec", json.loads(json.dumps(source))
    else:
        where, tree = str(source), _read_yaml(Path(source))
    for change in changes:
        _set(tree, change)
    try:
        return Spec.model_validate(tree)
    except ValidationError as error:
        raise SpecError(f"{where}: {_sentence(error)}") from None


def load_model_spec(tree: Mapping[str, Any]) -> ModelSpec:
    """The model part of a spec alone; SpecError says what is wrong."""
    try:
        return ModelSpec.model_validate(tree)
    except ValidationError as error:
        raise SpecError(_sentence(error)) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: the spec cannot be read ({error.strerror}); give the path of a YAML file") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: this is not text; a spec is a YAML file in UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise SpecError(f"{path}{line}: this is not YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(tree, dict):
        raise SpecError(f"{path}: a spec is a YAML mapping with name, data, split, model and sweep")
    return tree


def _set(tree: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    if not equals:
        raise SpecError(f"--set {change}: write it as KEY=VALUE, e.g. model.K=32")
    *path, last = key.split(".")
    node = tree
    for step in path:
        node = node.setdefault(step, {})
        if not isinstance(node, dict):
            raise SpecError(f"--set {change}: {step} holds a value, not keys")
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise SpecError(f"--set {change}: the value {value!r} is not YAML") from None


def _sentence(error: ValidationError) -> str:
    """The first complaint as `key: what is wrong`, and how many more there are."""
    problems = error.errors()
    first = problems[0]
    # pydantic names the chosen kind of a union (`split.random.valid`); the user wrote `split.valid`.
    steps = [str(step) for step in first["loc"]]
    if len(steps) > 1 and steps[0] == "split" and steps[1] in SPLITS:
        del steps[1]
    if steps[:2] in (["sweep", "space"], ["sweep", "spaces"]):
        steps = [step for step in steps if step not in ("range", "value")]
    key = ".".join(steps) or "the spec"
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        what = f"unknown key; known here are {', '.join(_known_keys(steps[:-1]))}"
        if steps[:-1] == ["model"]:
            what += " (a backend's own knobs stand under model.options.BACKEND)"
    elif first["type"] == "missing":
        what = "this key is missing"
    elif first["type"] == "union_tag_invalid":
        what = f"kind is {first['ctx']['tag']!r}; it is one of {first['ctx']['expected_tags']}"
    elif first["type"] == "string_pattern_mismatch":
        what = f"{first['input']!r} is not letters, digits, '.', '_' and '-' alone, a letter or digit first"
    elif first["type"] != "value_error":
        what = f"{what[0].lower()}{what[1:]}, not {first['input']!r}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{key}: {what}{more}"


def _known_keys(steps: list[str]) -> list[str]:
    known: dict[str, type[BaseModel]] = {
        "": Spec, "data": Data, "data.planted": Planted, "model": ModelSpec, "model.init": Init, "sweep": Sweep, "race": Race,
        "sweep.space": Space, "sweep.grid": Grid, "evaluation": Evaluation,
    }  # fmt: skip
    if steps[:1] == ["split"]:
        return sorted({name for kind in SPLITS.values() for name in kind.model_fields})
    if steps[:2] == ["sweep", "spaces"]:
        return list(Space.model_fields)
    model = known.get(".".join(steps))
    return list(model.model_fields) if model else ["int or float", "log"]


# --- identity --------------------------------------------------------------------------------------------------------


def study_key(spec: Spec) -> str:
    """`name-digest` over the fields that can change a result of a study.

    The number of trials and the list of backends are left out: a study goes on with more trials, and another backend is
    another study beside the ones that are there.
    """
    tree = _identity(spec)
    if spec.sweep:
        tree["sweep"].pop("trials")
        tree["sweep"].pop("backends")
        tree["sweep"].pop("side_by_side")
        for name in ("repeats", "sampler", "grid", "objectives"):  # at its default, the study of those who know of no other
            if getattr(spec.sweep, name) == Sweep.model_fields[name].default:
                tree["sweep"].pop(name)
        tree["model"].pop("backend")
    tree.pop("race")
    return _key(spec.name, tree)


def run_study_key(spec: Spec) -> str:
    """The study key of a plain run: the sweep has no part in it."""
    tree = _identity(spec)
    tree.pop("sweep")
    tree.pop("race")
    return _key(spec.name, tree)


def _identity(spec: Spec) -> dict[str, Any]:
    tree = spec.model_dump(mode="json", exclude={"evaluation"})
    if spec.data.file is not None:
        try:
            tree["data"]["file"] = hashlib.sha256(Path(spec.data.file).expanduser().read_bytes()).hexdigest()
        except OSError as error:
            raise SpecError(f"data.file: {spec.data.file} cannot be read ({error.strerror})") from None
    return tree


def _key(name: str, tree: Mapping[str, Any]) -> str:
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
