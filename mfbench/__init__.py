"""mfbench: a research harness for matrix factorization of ratings, R ≈ P Qᵀ."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfbench.api import factorize, load_model, race, recommender, reproduce, run, sweep

__all__ = ["factorize", "load_model", "race", "recommender", "reproduce", "run", "sweep"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: `import mfbench` itself must load no numpy, jax, mlflow, optuna or pandas.
    if name in __all__:
        return getattr(import_module("mfbench.api"), name)
    raise AttributeError(f"module 'mfbench' has no attribute {name!r}")
