"""The rooms of the package: imports go one way, no circle, few entries; starting up loads nothing slow."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from processes import python, said_by

import mfbench

PACKAGE = Path(mfbench.__file__).parent

ROOMS = [
    "core", "spec", "matrix", "data", "backends", "models", "runs", "search.sampling", "search", "report", "tracking",
    "commands", "commands.cli",
]  # fmt: skip
"""Each imports from itself and from those before it."""

ROOT = {"__init__", "__main__", "testing"}
HOMES = {
    "numba": {"matrix.compiled"},
    "jax": {
        "backends.jax",
        *(
            f"backends.on_device.{name}"
            for name in (
                "accelerator",
                "keras_adam",
                "adam",
                "als",
                "bmf",
                "mlp",
                "sgd",
                "rings.ring",
                "rings.programs",
                "rings.processes",
            )
        ),
    },
    "optax": {"backends.on_device.keras_adam"},
    "optuna": {"search.sampling.optuna_trials"},
    "optuna_dashboard": {"tracking.dashboard"},
    "distributed": {"search.cluster.crew", "search.cluster.worker"},
    "cmaes": {"search.sampling.cmaes"},
    "scikit_posthocs": {"report.suites.ranks"},
    "mlflow": {"tracking.model", "tracking.store", "tracking.client", "matrix.predicting"},
}


def modules() -> dict[str, Path]:
    found = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {name: path for name, path in found.items() if name not in ROOT}


def room_of(module: str) -> int:
    return max(depth for depth, room in enumerate(ROOMS) if module.startswith(f"{room}."))


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
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def arrows() -> dict[str, set[str]]:
    known = modules()
    ours = {name: {one.removeprefix("mfbench.") for one in imported(path)} for name, path in known.items()}
    packages = {name.removesuffix(".__init__"): name for name in known if name.endswith("__init__")}
    return {name: {packages.get(one, one) for one in found} & known.keys() - {name} for name, found in ours.items()}


def test_no_arrow_between_rooms_runs_back() -> None:
    back = [(name, other) for name, found in arrows().items() for other in found if room_of(other) > room_of(name)]
    assert not back


def test_there_is_no_circle_of_modules() -> None:
    # A room's `__init__` that gathers its own modules is no circle with them.
    within = {name: {one for one in found if not one.endswith("__init__")} for name, found in arrows().items()}
    TopologicalSorter(within).prepare()


def test_every_folder_can_be_taken_in_at_a_glance() -> None:
    def entries(folder: Path) -> list[Path]:
        return [path for path in folder.iterdir() if path.name != "__pycache__" and path.suffix not in (".nbi", ".nbc")]

    assert len(entries(PACKAGE)) <= 16
    for room in ROOMS:
        folder = PACKAGE / room.replace(".", "/")
        files = [path.name for path in entries(folder) if path.is_file()]
        assert len(files) <= 12, (room, files)
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), f"{room} does not say what lives there"


@pytest.mark.parametrize("library", HOMES)
def test_each_framework_has_its_home(library: str) -> None:
    users = {module for module, path in modules().items() if any(name.split(".")[0] == library for name in imported(path))}
    assert users <= HOMES[library]


@pytest.mark.parametrize("words", [["-c", "import mfbench"], ["-m", "mfbench", "--help"]])
def test_start_up_loads_nothing_slow(words: list[str]) -> None:
    status, _, err = python("-X", "importtime", *words)
    assert status == 0, err
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in err.splitlines() if "|" in line}
    assert not loaded & {"jax", "mlflow", "optuna", "pandas", "numba", "numpy", "scipy", "matplotlib"}
    assert "mfbench" in loaded


@pytest.mark.parametrize(
    ("code", "unused"),
    [
        ("import mfbench.commands.run", {"numba", "jax"}),
        ("import mfbench.search.sweep", {"numba", "jax"}),
        ("import mfbench.report.page", {"numba", "jax"}),
        ("import mfbench.backends.registry as r; [r.resolve(name, {}) for name in ('adam', 'mlp', 'als')]", {"jax", "optax"}),
        ("import mfbench.backends.registry as r; r.names()", {"jax", "optax", "numba", "pandas", "mlflow", "optuna"}),
        ("import mfbench.data.catalogue", {"pandas", "pyarrow", "scipy", "requests", "rich", "jax", "numba", "mlflow"}),
    ],
)
def test_a_module_loads_nothing_slow_that_is_of_no_use_to_it(code: str, unused: set[str]) -> None:
    assert not unused & set(said_by(f"import sys; {code}; print(*sys.modules)").split())
