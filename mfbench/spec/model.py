"""The model section of a spec: backend, hyperparameters and initialization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from mfbench.spec.fields import BackendName, Count, Penalty, Seed, StepSize, Strict, in_order

Step = Literal["constant", "adagrad", "decay"]

FIRST = ("K", "alpha", "beta")
"""The hyperparameters that come first in every table."""
OF_MODEL = (*FIRST, "step", "decay", "init", "center", "bias")
"""The keys of the model section that can be searched; a backend's own options can be searched too."""


class Init(Strict):
    """The initialization of P and Q; exactly one of `uniform`, `normal` and `positive` is given.

    uniform: [lo, hi], uniform in [lo, hi). normal: the standard deviation of a normal distribution with mean 0. positive: c,
    uniform in [0, c / √K); with c = 1 the initial predictions p·q average 1/4 for every K.
    """

    uniform: Annotated[tuple[float, float], AfterValidator(in_order)] | None = None
    normal: float | None = Field(default=None, gt=0)
    positive: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one(self) -> Init:
        if sum(kind is not None for kind in (self.uniform, self.normal, self.positive)) != 1:
            raise ValueError("give exactly one of uniform: [lo, hi], normal: s and positive: c")
        return self

    @property
    def scale(self) -> float:
        """The scale, as `scaled` takes it."""
        if self.uniform is not None:
            return max(abs(bound) for bound in self.uniform)
        return self.normal or self.positive or 0.0

    def scaled(self, scale: float) -> Init:
        """The same kind of initialization at another scale.

        scale: the standard deviation of `normal`, the c of `positive`, or the larger absolute bound of `uniform`, whose other
        bound changes in proportion.
        """
        if self.normal is not None:
            return Init(normal=scale)
        if self.uniform is None:
            return Init(positive=scale)
        low, high = self.uniform
        factor = scale / self.scale
        return Init(uniform=(low * factor, high * factor))


class ModelSpec(Strict):
    """The backend and its hyperparameters.

    backend: its name, `FILE.py:CLASS` or `package.module:CLASS`; `mfbench backends` lists all. K: the number of factors.
    alpha: the step size. beta: the L2 penalty. step: the step size schedule of the SGD backends, see `mfbench.matrix.steps`.
    decay: its decay rate with `step: decay`. epochs: the number of passes over the training ratings. init: how the factors
    start. center: whether predictions start from the mean of the training ratings. bias: whether each user and each item has
    a learned bias. evaluate_every: the number of epochs between two evaluations. evaluate_train: whether each of them
    includes the training error; the last one always does. patience: stop once this many evaluations in a row have not
    lowered the best valid RMSE, and keep the model of the best epoch; null trains all epochs and keeps the last model.
    epochs is then a ceiling. Without a valid part it has no effect. options: the backends' own options, by backend.
    """

    backend: BackendName = "jax"
    K: Count = 16
    alpha: StepSize = 0.005
    beta: Penalty = 0.05
    step: Step = "constant"
    decay: Penalty = 0.1
    epochs: Count = 20
    patience: Count | None = None
    center: bool = False
    bias: bool = False
    init: Init = Init(normal=0.1)
    seed: Seed = 0
    evaluate_every: Count = 1
    evaluate_train: bool = True
    options: dict[BackendName, dict[str, Any]] = {}

    def with_hyper(self, backend: str, hyper: Mapping[str, Any], check: bool = False) -> ModelSpec:
        """This model with the hyperparameters of a trial of `backend`.

        hyper: values by name; `init` is the scale of the initialization, see `Init.scaled`, and names that are not in
        `OF_MODEL` become options of the backend. check: whether to validate the values (pydantic's ValidationError).

        >>> model = ModelSpec().with_hyper("jax", {"K": 8, "init": 0.3, "batch_size": 64})
        >>> model.K, model.init.normal, model.options
        (8, 0.3, {'jax': {'batch_size': 64}})
        """
        changes = {name: value for name, value in hyper.items() if name in OF_MODEL}
        if "init" in changes:
            changes["init"] = self.init.scaled(changes["init"])
        options = {name: value for name, value in hyper.items() if name not in OF_MODEL}
        if options:
            changes["options"] = {**self.options, backend: {**self.options.get(backend, {}), **options}}
        return ModelSpec(**{**dict(self), **changes}) if check else self.model_copy(update=changes)
