"""DESIGN: each layer imports only those above it; importing mfbench, and `--help`, load nothing slow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mfbench

PACKAGE = Path(mfbench.__file__).parent

# From the ground up. A module may import from its own line and the lines before it.
LAYERS = [
    ["mfbench", "errors", "ratings", "metrics", "randomness", "compiled", "predicting", "checkout"],
    ["factors", "schedule", "cuts", "memory", "text_tables", "environment"],
    [
        "spec",
        "datasets",
        "whole_files",
        "records",
        "model_files",
        "openings",
        "partition",
        "splits",
        "backends.base",
        "scoring",
        "unseen",
        "evaluation",
    ],
    ["backends"],
    ["backends.accelerator", "backends.keras_adam"],
    [f"backends.{name}" for name in ("loop", "numba", "jax", "adam", "mlp", "als", "mean")] + ["testing"],
    ["trained_model", "recommending", "preparation", "jobs", "training"],
    ["evolution", "search", "repeats", "pruning", "edges", "searched", "audit", "significance"],
    [
        "pictures",
        "run_pictures",
        "search_pictures",
        "mae_chart",
        "trade_off",
        "filled",
        "leaderboard",
        "pareto",
        "description",
    ],
    ["mlflow_addresses", "mlflow_store", "mlflow_contents", "mlflow_model", "tracking", "tracking_ui", "mlflow_pages"],
    ["finding", "watching", "export"],
    [
        "differences",
        "reproduction",
        "workers",
        "study",
        "swept",
        "sweeps",
        "races",
        "comparison",
        "reports",
        "factorization",
        "doctor",
        "answers",
        "api",
    ],
    ["saying", "stopping", "cli_models", "cli_inventory"],
    ["cli", "__main__"],
]
LAYER = {module: depth for depth, layer in enumerate(LAYERS) for module in layer}

HOMES = {
    "numba": {"compiled"},
    "jax": {"backends.accelerator", "backends.keras_adam", "backends.jax", "backends.adam", "backends.mlp", "backends.als"},
    "optax": {"backends.keras_adam"},
    "optuna": {"search"},
    "cmaes": {"evolution"},
    "mlflow": {"mlflow_model", "mlflow_store", "predicting", "tracking"},
}


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__") or "mfbench"
        found[name] = path
    return found


def layer_of(module: str) -> int:
    while module not in LAYER:
        assert "." in module, f"{module} has no layer; give it one in {Path(__file__).name}"
        module = module.rpartition(".")[0]
    return LAYER[module]


def imported(path: Path) -> set[str]:
    """Absolute names of all that a module imports for its work; what stands under TYPE_CHECKING is not for its work."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(("module", "path"), modules().items(), ids=list(modules()))
def test_imports_point_upwards_only(module: str, path: Path) -> None:
    ours = {name.removeprefix("mfbench.") for name in imported(path) if name.startswith("mfbench.")}
    known = set(modules())
    for name in ours & known - {module}:
        assert layer_of(name) <= layer_of(module), f"{module} imports {name}, which is of a later layer"


@pytest.mark.parametrize("library", HOMES)
def test_each_framework_has_its_home(library: str) -> None:
    users = {module for module, path in modules().items() if any(name.split(".")[0] == library for name in imported(path))}
    assert users <= HOMES[library]


@pytest.mark.parametrize("words", [["-c", "import mfbench"], ["-m", "mfbench", "--help"]])
def test_start_up_loads_nothing_slow(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", *words], capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert not loaded & {"jax", "mlflow", "optuna", "pandas", "numba", "numpy", "scipy", "matplotlib"}
    assert "mfbench" in loaded


@pytest.mark.parametrize("module", ["mfbench.api", "mfbench.sweeps", "mfbench.reports"])
def test_a_process_that_trains_nothing_loads_no_numba_and_no_jax(module: str) -> None:
    code = f"import sys, {module}; assert not {{'numba', 'jax'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
