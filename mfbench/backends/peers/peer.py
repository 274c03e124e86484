"""The base class of peers: a backend whose training happens in the process of an adapter."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from mfbench.backends.base import Model
from mfbench.backends.peers.environments import PeerEnvironment
from mfbench.backends.peers.process import process_of
from mfbench.core.arrays import Array, Floats64, Ints
from mfbench.core.errors import RunError
from mfbench.core.machine import core_list
from mfbench.core.paths import portable
from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings, seen
from mfbench.matrix.schedule import Rows, Schedule

ADAPTERS = Path(__file__).with_name("adapters")

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Table:
    """A model that is nothing but its predictions: float64 [n_users, n_items]."""

    predictions: Floats64

    def predict(self, users: Ints, items: Ints) -> Floats64:
        """float64 [n]: the prediction for each pair."""
        return self.predictions[users, items]

    def arrays(self) -> dict[str, Array]:
        """The table."""
        return {"predictions": self.predictions}


@dataclass(frozen=True)
class Peer:
    """A backend that runs in an environment of its own. A subclass names the peer, and has its options as fields.

    peer: the name of its environment. package: the name of its main package, for lists. files: the folder of its adapter
    `PEER.py` and of its pins `PEER.txt`, by default those that come with mfbench. in_one_go: whether it trains without
    epochs; a run then has one epoch, whose model is the result, and how long to train is an option of its own. exact: whether
    two trainings give the same bits. sent: values for the adapter that are not options. timeout: the seconds that it may take
    for one answer, that is to get ready, or to train an epoch.
    """

    timeout: Seconds = 600.0

    tunable: ClassVar[frozenset[str]]
    peer: ClassVar[str]
    package: ClassVar[str] = ""
    files: ClassVar[Path] = ADAPTERS
    in_one_go: ClassVar[bool] = False
    exact: ClassVar[bool] = True
    sent: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def environment(cls) -> PeerEnvironment:
        """The environment of the peer."""
        return PeerEnvironment(cls.peer, cls.files / f"{cls.peer}.txt")

    @classmethod
    def source(cls) -> tuple[Path, ...]:
        """The files that a result depends on, besides that of the class: the adapter and the pins."""
        return cls.files / f"{cls.peer}.py", cls.files / f"{cls.peer}.txt"

    @classmethod
    def address(cls) -> str:
        """What `mfbench peers get` takes: the name of the peer, or of the user's own class with its file."""
        return cls.peer if cls.files == ADAPTERS else f"{portable(inspect.getfile(cls))}:{cls.__name__}"

    @property
    def hardware(self) -> dict[str, str]:
        """The CPU, and the versions of Python and of all packages in the environment."""
        return {"platform": "cpu", **self.environment().versions()}

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:  # noqa: ARG002
        """The ratings in stored order, by user and item; in which order the peer reads them is its own affair."""
        return train, Rows(len(train))

    def epochs(
        self,
        train: Ratings,
        start: Factors,
        hyper: HyperParams,
        schedule: Schedule,  # noqa: ARG002
        rng: np.random.Generator,
    ) -> Iterator[Model]:
        """Yield the start once the peer is ready, then its model after each epoch. RunError if the peer fails."""
        environment = self.environment()
        if (state := environment.state) != "ready":
            says = "is not installed" if state == "missing" else "was installed by other pins than those of this mfbench"
            raise RunError(f"{self.peer} {says}; run `mfbench peers get {self.address()}`")
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "timeout"}
        settings = {
            **options, **self.sent, "K": hyper.K, "alpha": hyper.alpha, "beta": hyper.beta, "epochs": hyper.epochs,
            "bias": hyper.bias, "center": start.mean != 0.0, "mean": start.mean, "n_users": train.n_users,
            "n_items": train.n_items, "seed": int(rng.integers(2**31 - 1)), "cores": len(core_list()),
        }  # fmt: skip
        drawn = {name: array for name, array in start.arrays().items() if name != "mean"}
        ratings = {"users": train.users, "items": train.items, "values": train.values}
        with process_of(environment, self.files / f"{self.peer}.py") as process:
            process.ask({"train": settings}, {**drawn, **ratings}, self.timeout)
            yield start
            model: Model | None = None
            for epoch in range(hyper.epochs):
                if model is None or not self.in_one_go:
                    model = self.model(process.ask({"next": True}, {}, self.timeout), train, epoch, model)
                yield model

    def model(self, arrays: Mapping[str, Array], train: Ratings, epoch: int, last: Model | None) -> Model:  # noqa: ARG002
        """The model after an epoch, of the arrays in an answer. RunError if it is none.

        epoch: counted from 0. last: the model of the epoch before. Users and items without a training rating get rows of
        zeros, as everywhere.
        """
        shape = (train.n_users, train.n_items)
        if "predictions" in arrays and arrays["predictions"].shape == shape:
            return Table(arrays["predictions"].astype(np.float64))
        factors = Factors.of(arrays)
        if factors is None or (len(factors.P), len(factors.Q)) != shape:
            found = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()) or "nothing"
            wanted = f"P [{shape[0]}, K], Q [{shape[1]}, K], user_bias, item_bias and mean, or predictions {list(shape)}"
            raise RunError(f"{self.peer}: its adapter answered {found}; it must yield {wanted}")
        given: list[Array] = [factors.P, factors.Q, factors.user_bias, factors.item_bias]
        dtype = np.float32 if all(table.dtype == np.float32 for table in given) else np.float64
        tables: list[Any] = [np.ascontiguousarray(table, dtype) for table in given]
        P, Q, user_bias, item_bias = tables
        for rows, table in ((train.users, P), (train.users, user_bias), (train.items, Q), (train.items, item_bias)):
            table[~seen(rows, len(table))] = 0
        return Factors(P, Q, user_bias, item_bias, factors.mean)
