"""mfbench: a research harness for matrix factorization of ratings, R ≈ P Qᵀ.

`factorize` needs only a matrix. `run` and `sweep` train and tune the model of a spec and record every run; `suite` sweeps one
spec over many data sets; `reproduce` re-runs a recorded run, and `claim` writes results that others can `verify`;
`load_model` and `recommender` use a run's model, and `evaluate` computes other metrics of it; `compare` and `write_report`
show runs side by side; `race` measures speed; `merge` brings in records of another machine. `list_backends`, `list_data`,
`list_references`, `data_info`, `get_data` and `doctor` say what there is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfbench.commands.compare import compare, write_report
    from mfbench.commands.evaluations.evaluate import evaluate
    from mfbench.commands.inventory import data_info, doctor, get_data, list_backends, list_data, list_references
    from mfbench.commands.load import load_model, recommender
    from mfbench.commands.merging import merge
    from mfbench.commands.race import race
    from mfbench.commands.reproduce import reproduce
    from mfbench.commands.run import run
    from mfbench.commands.suites.claim import claim
    from mfbench.commands.suites.suite import suite
    from mfbench.commands.suites.verify import verify
    from mfbench.commands.sweep import sweep
    from mfbench.models.factorize import factorize

__all__ = [
    "claim", "compare", "data_info", "doctor", "evaluate", "factorize", "get_data", "list_backends", "list_data",
    "list_references", "load_model", "merge", "race", "recommender", "reproduce", "run", "suite", "sweep", "verify",
    "write_report",
]  # fmt: skip
__version__ = "0.1.0"

_HOMES = {
    "claim": "mfbench.commands.suites.claim",
    "compare": "mfbench.commands.compare",
    **dict.fromkeys(
        ("data_info", "doctor", "get_data", "list_backends", "list_data", "list_references"), "mfbench.commands.inventory"
    ),
    "evaluate": "mfbench.commands.evaluations.evaluate",
    "factorize": "mfbench.models.factorize",
    "load_model": "mfbench.commands.load",
    "merge": "mfbench.commands.merging",
    "race": "mfbench.commands.race",
    "recommender": "mfbench.commands.load",
    "reproduce": "mfbench.commands.reproduce",
    "run": "mfbench.commands.run",
    "suite": "mfbench.commands.suites.suite",
    "sweep": "mfbench.commands.sweep",
    "verify": "mfbench.commands.suites.verify",
    "write_report": "mfbench.commands.compare",
}


def __getattr__(name: str) -> Any:
    # Loaded at first use, for the start-up time: `import mfbench` must load no numpy, jax, mlflow, optuna or pandas.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    hint = f"; use mfbench.recommender(RUN).{name}" if name in ("recommend", "similar", "groups", "fill") else ""
    raise AttributeError(f"module 'mfbench' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
