"""The model of a spec: backend, hyperparameters and start."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from mfbench.spec.fields import BackendName, Count, Penalty, Seed, StepSize, Strict, in_order


class Init(Strict):
    """How P and Q start: uniform in [lo, hi), or normal with mean 0 and this standard deviation."""

    uniform: Annotated[tuple[float, float], AfterValidator(in_order)] | None = None
    normal: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one(self) -> Init:
        if (self.uniform is None) == (self.normal is None):
            raise ValueError("give exactly one of uniform: [lo, hi] and normal: s")
        return self


class ModelSpec(Strict):
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
