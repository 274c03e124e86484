"""The model of a spec: backend, hyperparameters and start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from mfbench.spec.fields import BackendName, Count, Penalty, Seed, StepSize, Strict, in_order

Step = Literal["constant", "adagrad", "decay"]

FIRST = ("K", "alpha", "beta")
"""The hyperparameters that every table has first."""
OF_MODEL = (*FIRST, "step", "decay", "init", "center", "bias")
"""What of the model a search can range over; besides these, the knobs of a backend."""


class Init(Strict):
    """How P and Q start: uniform in [lo, hi), normal with mean 0 and this standard deviation, or uniform in [0, c / √K).

    With `positive: 1` the first predictions p·q are about a quarter, whatever K is.
    """

    uniform: Annotated[tuple[float, float], AfterValidator(in_order)] | None = None
    normal: float | None = Field(default=None, gt=0)
    positive: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one(self) -> Init:
        if sum(kind is not None for kind in (self.uniform, self.normal, self.positive)) != 1:
            raise ValueError("give exactly one of uniform: [lo, hi], normal: s and positive: c")
        return self

    def scaled(self, scale: float) -> Init:
        """The same kind of start with another scale: s, c, or of `uniform: [lo, hi]` the end farther from 0."""
        if self.normal is not None:
            return Init(normal=scale)
        if self.uniform is None:
            return Init(positive=scale)
        low, high = self.uniform
        by = scale / max(abs(low), abs(high))
        return Init(uniform=(low * by, high * by))


class ModelSpec(Strict):
    """Backend and hyperparameters. `options` holds the knobs of each backend under its name.

    step: how the step size of the SGD backends changes, see `mfbench.matrix.steps`; decay: how fast with `step: decay`.
    """

    backend: BackendName = "jax"
    K: Count = 16
    alpha: StepSize = 0.005
    beta: Penalty = 0.05
    step: Step = "constant"
    decay: Penalty = 0.1
    epochs: int = Field(default=20, ge=1)
    center: bool = False
    bias: bool = False
    init: Init = Init(normal=0.1)
    seed: Seed = 0
    evaluate_every: int = Field(default=1, ge=1)
    evaluate_train: bool = True
    options: dict[BackendName, dict[str, Any]] = {}

    def with_hyper(self, backend: str, hyper: Mapping[str, Any], check: bool = False) -> ModelSpec:
        """The model of a trial of that backend: `init` is the scale of the start, what the model lacks is a knob.

        check: raise pydantic's ValidationError for a value that the model cannot have.
        """
        changes = {name: value for name, value in hyper.items() if name in OF_MODEL}
        if "init" in changes:
            changes["init"] = self.init.scaled(changes["init"])
        knobs = {name: value for name, value in hyper.items() if name not in OF_MODEL}
        if knobs:
            changes["options"] = {**self.options, backend: {**self.options.get(backend, {}), **knobs}}
        return ModelSpec(**{**dict(self), **changes}) if check else self.model_copy(update=changes)
