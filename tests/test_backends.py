"""The registry, and the promises of all built-in backends."""

from typing import Any

import jax
import numpy as np
import pytest

from mfbench.backends import registry
from mfbench.backends.adam import Adam
from mfbench.backends.als import Als
from mfbench.backends.jax import Jax
from mfbench.backends.loop import Loop
from mfbench.backends.mean import Mean
from mfbench.backends.mlp import Mlp
from mfbench.backends.numba import Numba
from mfbench.core.errors import SpecError
from mfbench.matrix.factors import HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.testing import BackendContract, small_ratings, train_models

MINE = '''
from dataclasses import dataclass
from typing import ClassVar

from mfbench.backends.mean import Mean


@dataclass(frozen=True)
class Mine(Mean):
    """My own floor.

    More about it.
    """

    rungs: tuple[int, ...] = (1, 2)

    tunable: ClassVar[frozenset[str]] = frozenset()


class NoKnobs:
    pass


broken = 1
'''


class TestLoop(BackendContract):
    backend = Loop()


class TestLoopInRows(BackendContract):
    backend = Loop(order="rows")


class TestJax(BackendContract):
    backend = Jax(batch_size=7)


class TestJaxInWaves(BackendContract):
    backend = Jax(schedule="waves")


class TestNumba(BackendContract):
    backend = Numba(blocks=3, threads=2)


class TestNumbaInWaves(BackendContract):
    backend = Numba(schedule="waves", dtype="float64")


class TestAdam(BackendContract):
    backend = Adam(batch_size=7)


class TestAdamInJax(BackendContract):
    backend = Adam(batch_size=7, device="cpu")


class TestMlp(BackendContract):
    backend = Mlp(batch_size=7)


class TestMlpInJax(BackendContract):
    backend = Mlp(batch_size=7, device="cpu")


class TestAls(BackendContract):
    backend = Als()


class TestAlsInFloat64(BackendContract):
    backend = Als(dtype="float64")


class TestMean(BackendContract):
    backend = Mean()


SEARCHED = [
    Loop(), Numba(), Jax(schedule="waves"), Jax(batch_size=7), Adam(batch_size=7), Mlp(batch_size=7),
    Adam(batch_size=7, device="cpu"), Mlp(batch_size=7, device="cpu"),
]  # fmt: skip


@pytest.mark.parametrize("backend", SEARCHED, ids=lambda backend: type(backend).__name__)
class TestSearched:
    @pytest.mark.parametrize(
        "change",
        [{"epochs": 4}, {"bias": False}, {"center": False}, {"normal": 0.2}],
        ids=lambda change: next(iter(change)),
    )
    def test_what_is_not_tuned_changes_the_result_too(self, backend, change):
        train = small_ratings()
        one, other = train_models(backend, train)[-1], train_models(backend, train, **change)[-1]
        assert not np.array_equal(one.predict(train.users, train.items), other.predict(train.users, train.items))

    def test_biases_stay_zero_unless_learned(self, backend):
        model: Any = train_models(backend, small_ratings(), bias=False)[-1]
        assert not model.user_bias.any()
        assert not model.item_bias.any()

    def test_a_run_that_diverges_gives_numbers_that_are_not_finite(self, backend):
        train = small_ratings()
        alpha = 1e30 if isinstance(backend, Adam | Mlp) else 5.0
        models = train_models(backend, train, alpha=alpha, epochs=20)
        assert len(models) == 21
        assert not np.all(np.isfinite(models[-1].predict(train.users, train.items)))

    @pytest.mark.parametrize(
        "cells", [[(0, 0)], [(0, 0), (0, 1), (0, 2)], [(0, 0), (1, 0), (2, 0)]], ids=["one", "one user", "one item"]
    )
    def test_the_smallest_ratings(self, backend, cells):
        users, items = np.array(cells, dtype=np.int32).T
        train = Ratings(users, items, np.full(len(cells), 4, np.float32), users.max() + 1, items.max() + 1)
        first, *_, last = train_models(backend, train, center=False, epochs=10)
        error = [np.abs(train.values - model.predict(users, items)).max() for model in (first, last)]
        assert error[1] < error[0]


ON_DEVICES = [Jax(batch_size=8), Adam(batch_size=8, device="cpu"), Mlp(batch_size=8, device="cpu")]


@pytest.fixture(scope="module")
def compiled() -> list[float]:
    """The seconds that JAX takes for each program that it compiles from now on."""
    seconds: list[float] = []
    at_compilation = "/jax/core/compile/backend_compile_duration"
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, taken, **_: seconds.append(taken) if event == at_compilation else None
    )
    return seconds


@pytest.mark.parametrize("backend", ON_DEVICES, ids=lambda backend: type(backend).__name__)
class TestCompiled:
    def test_nothing_compiles_after_the_first_yield(self, backend, compiled):
        train, before = small_ratings(n=40), len(compiled)
        start = draw_start(train, 3, {"normal": 0.1}, True, np.random.default_rng(0))
        rng = np.random.default_rng(0)
        models = backend.epochs(train, start, HyperParams(3, 0.01, 0.1, 2, True), backend.arrange(train, rng)[1], rng)
        next(models)
        at_first = len(compiled)
        assert at_first > before
        assert len(list(models)) == 2
        assert len(compiled) == at_first

    def test_a_sweep_compiles_one_program_a_padded_size(self, backend, compiled):
        train = small_ratings(n=50)
        train_models(backend, train, K=5)
        before = len(compiled)
        for K, alpha, beta in [(8, 0.02, 0.1), (7, 0.01, 0.2), (6, 0.03, 0.0)]:
            train_models(backend, train, K=K, alpha=alpha, beta=beta)
        assert len(compiled) == before


# --- the registry ----------------------------------------------------------------------------------------------------


def test_built_in_backends_resolve_with_their_knobs():
    assert registry.resolve("loop", {"order": "rows"}) == Loop("rows")
    assert registry.resolve("mean", {"item_damping": 3}) == Mean(item_damping=3.0)
    assert registry.resolve("jax", {"batch_size": 8, "device": "cpu:0"}) == Jax(8, "cpu:0")
    assert registry.resolve("adam", {}) == Adam()
    assert registry.knobs(Loop()) == {"order": "shuffled", "simultaneous": False}
    for name in registry.BUILT_IN:
        assert registry.knobs(registry.resolve(name, {})) == registry.describe(name)["knobs"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "nope",
            {},
            "backend: unknown backend 'nope'; choose from loop, numba, jax, adam, mlp, als, bmf, mean.*, or give your own .*",
        ),
        ("loop", {"ordr": 1}, "model.options.loop.ordr: unknown key; choose from order, simultaneous"),
        ("loop", {"order": "up"}, "model.options.loop.order: input should be 'shuffled' or 'rows', not 'up'"),
        ("jax", {"batch_size": "many"}, "model.options.jax.batch_size: input should be a valid integer, not 'many'"),
        ("jax", {"batch_size": True}, "model.options.jax.batch_size: input should be a valid integer, not True"),
        ("als", {"threads": 10**9}, "model.options.als.threads: input should be less than or equal to 1024, not 1000000000"),
        ("jax", {"batch_size": 0}, "model.options.jax.batch_size: input should be greater than or equal to 1, not 0"),
        ("adam", {"batch_size": -1}, "model.options.adam.batch_size: input should be greater than or equal to 1, not -1"),
        ("jax", {"device": "abacus"}, "model.options.jax.device: 'abacus' is not on this machine; choose from cpu:0.*"),
        ("mean", {"user_damping": -1}, "model.options.mean.user_damping: input should be greater than or equal to 0, not -1"),
        ("loop", {"order": "sorted"}, "model.options.loop.order: input should be 'shuffled' or 'rows', not 'sorted'"),
        (
            "numba",
            {"schedule": "ring"},
            "model.options.numba.schedule: input should be 'blocks', 'waves' or 'rows', not 'ring'",
        ),
        ("numba", {"dtype": "float16"}, "model.options.numba.dtype: input should be 'float32' or 'float64', not 'float16'"),
        ("numba", {"blocks": 0}, "model.options.numba.blocks: input should be greater than or equal to 1, not 0"),
        ("numba", {"threads": 0}, "model.options.numba.threads: input should be greater than or equal to 1, not 0"),
        ("jax", {"dtype": "float16"}, "model.options.jax.dtype: input should be 'float32' or 'float64', not 'float16'"),
        ("jax", {"device": "cpu:99"}, "model.options.jax.device: 'cpu:99' is not on this machine; choose from cpu:0.*"),
        ("als", {"device": "cpu", "threads": 2}, "model.options.als.threads: 2 has no effect with a device; leave out .*"),
        ("mean", {"terms": "none"}, "model.options.mean.terms: input should be 'both', 'item' or 'global', not 'none'"),
        ("gone.py:Mine", {}, "backend: gone.py cannot be read .*; give the path of a Python file"),
        ("no_such_package:Mine", {}, "backend: no_such_package:Mine cannot be imported .*"),
        ("os:Mine", {}, "backend: os has no class 'Mine'; give os:CLASS .*"),
        ("os:path", {}, "backend: os:path is not a backend: it lacks tunable, arrange, epochs; .*"),
    ],
)
def test_what_cannot_be_resolved_is_one_sentence(name, options, message):
    with pytest.raises(SpecError, match=f"^{message}$") as caught:
        registry.resolve(name, options)
    assert "\n" not in str(caught.value)


def test_a_backend_in_a_file_of_the_user(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    name = f"{path}:Mine"
    mine = registry.resolve(name, {"rungs": [3], "terms": "item"})
    assert registry.knobs(mine) == {"terms": "item", "item_damping": 25.0, "user_damping": 10.0, "rungs": (3,)}
    assert type(mine) is type(registry.resolve(name, {}))
    assert registry.describe(name)["what"] == "My own floor"
    with pytest.raises(SpecError, match="is not a backend: it lacks tunable, arrange, epochs"):
        registry.resolve(f"{path}:NoKnobs", {})
    path.write_text("import no_such_module")
    with pytest.raises(SpecError, match="cannot be imported \\(ModuleNotFoundError") as caught:
        registry.resolve(name, {})
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_backend_of_an_installed_package(tmp_path, monkeypatch):
    (tmp_path / "their_backend.py").write_text(MINE)
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[mfbench.backends]\ntheirs = their_backend:Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "theirs" in registry.names()
    assert registry.knobs(registry.resolve("theirs", {}))["terms"] == "both"
