"""cmfrec and Spark in our terms: from where they end, our `als` goes on as they do; and what Spark needs and leaves behind."""

from __future__ import annotations

import importlib.util
import os
import stat
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from waiting import wait_until

from mfbench.backends import registry
from mfbench.backends.als import Als
from mfbench.backends.peers import process
from mfbench.backends.peers.peer import ADAPTERS
from mfbench.core.errors import RunError
from mfbench.data.planted import planted
from mfbench.matrix.factors import Factors, HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Rows
from mfbench.testing import BackendContract

BETA = 0.3


@pytest.fixture
def ratings() -> Ratings:
    return planted(60, 80, 2000, 1, "planted").ratings


def installed(name: str) -> Any:
    if registry.backend_class(name).environment().state != "ready":
        pytest.skip(f"{name} is not installed: run `mfbench peers get {name}`")
    if name == "spark":
        try:
            adapter("spark").check_java()
        except RuntimeError as error:
            pytest.skip(f"Spark cannot start: {error}")
    return registry.resolve(name, {})


def adapter(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"adapter_{name}", ADAPTERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stopped() -> None:
    """End the process that waits for the next training."""
    while process._idle:
        process._idle.pop()[1].stop()


def trained(peer: Any, ratings: Ratings, n_iter: int, bias: bool, center: bool) -> Any:
    start = draw_start(ratings, 4, {"normal": 0.1}, center, np.random.default_rng(1))
    hyper = HyperParams(4, 0.01, BETA, 1, bias)
    one = replace(peer, n_iter=n_iter)
    return list(one.epochs(ratings, start, hyper, Rows(len(ratings)), np.random.default_rng(3)))[-1]


def continued(theirs: Factors, ratings: Ratings, epochs: int, bias: bool) -> list[Any]:
    """Our `als` from their items: its first epoch solves for the users that they must have, then for their next items."""
    hyper = HyperParams(4, 0.01, BETA, epochs, bias)
    return list(Als(dtype="float64").epochs(ratings, theirs, hyper, Rows(len(ratings)), np.random.default_rng(0)))[1:]


def assert_they_agree(peer: Any, ratings: Ratings, bias: bool, center: bool, within: float) -> None:
    few, more = (trained(peer, ratings, n, bias, center) for n in (2, 4))
    solves_bias = bias and bool(np.any(few.user_bias))
    ours = continued(few, ratings, 3, solves_bias)
    assert few.mean == pytest.approx(ratings.values.mean() if center else 0.0, abs=1e-6)
    for model, name in ((ours[0], "P"), (ours[0], "user_bias")):
        np.testing.assert_allclose(getattr(model, name), getattr(few, name), rtol=0, atol=within, err_msg=name)
    np.testing.assert_allclose(ours[2].P, more.P, rtol=0, atol=within)
    np.testing.assert_allclose(ours[1].Q, more.Q, rtol=0, atol=within)
    assert np.abs(more.P - few.P).max() > 10 * within  # else nothing would be shown


@pytest.mark.parametrize(("bias", "center"), [(True, True), (True, False), (False, True), (False, False)])
def test_als_goes_on_as_cmfrec_does(ratings: Ratings, bias: bool, center: bool) -> None:
    assert_they_agree(installed("cmfrec"), ratings, bias, center, 1e-7)


@pytest.mark.parametrize("center", [True, False])
def test_als_goes_on_as_spark_does(ratings: Ratings, center: bool) -> None:
    assert_they_agree(installed("spark"), ratings, True, center, 2e-3)


@pytest.mark.parametrize("name", ["cmfrec", "spark"])
def test_a_new_process_gives_the_same_bits(name: str, ratings: Ratings) -> None:
    peer, found = installed(name), []
    for _ in range(2):
        stopped()
        found.append(trained(peer, ratings, 3, True, True).arrays())
    assert all(found[0][key].tobytes() == found[1][key].tobytes() for key in found[0])


def test_users_and_items_without_ratings_get_zeros() -> None:
    ratings = Ratings(np.array([0, 0, 2, 2], np.int32), np.array([1, 3, 1, 4], np.int32), np.array([1.0, 2, 3, 5]), 4, 5)
    model = trained(installed("spark"), ratings, 2, True, True)
    assert not model.P[[1, 3]].any()
    assert not model.Q[[0, 2]].any()
    assert np.abs(model.P[[0, 2]]).sum(axis=1).min() > 0


def test_spark_takes_its_processes_and_its_folder_with_it(ratings: Ratings) -> None:
    peer = installed("spark")
    stopped()
    before = set(Path(tempfile.gettempdir()).glob("mfbench-spark-*"))
    trained(peer, ratings, 1, True, True)
    started = process._idle[0][1]._process.pid
    family = psutil.Process(started).children(recursive=True)
    assert any("java" in child.name() for child in family)
    made = set(Path(tempfile.gettempdir()).glob("mfbench-spark-*")) - before
    assert made
    os.kill(started, 9)  # not by the harness: only the end of the process itself can be noticed
    wait_until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in family))
    wait_until(lambda: not any(path.exists() for path in made))


class TestCmfrecContract(BackendContract):
    """What every backend must do."""

    @pytest.fixture(autouse=True)
    def _the_peer(self) -> None:
        type(self).backend = installed("cmfrec")


@pytest.mark.long
class TestSparkContract(BackendContract):
    """What every backend must do."""

    @pytest.fixture(autouse=True)
    def _the_peer(self) -> None:
        type(self).backend = installed("spark")


# --- without Spark or Java -------------------------------------------------------------------------------------------


def java(folder: Path, version: str) -> None:
    """A Java that only says its version."""
    (folder / "bin").mkdir()
    program = folder / "bin/java"
    program.write_text(f"#!{sys.executable}\nimport sys\nprint('openjdk version \"{version}\"', file=sys.stderr)\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (None, "Java 17 or newer is needed, but JAVA_HOME, .*, has none; install it"),
        ("1.8.0_402", 'has version "1.8.0_402"; install it'),
        ("11.0.22", 'has version "11.0.22"; install it'),
    ],
)
def test_spark_says_that_it_needs_java(
    version: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if version:
        java(tmp_path, version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(RuntimeError, match=says):
        next(adapter("spark").train(SimpleNamespace()))


def test_spark_takes_java_from_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(RuntimeError, match="the PATH has none"):
        adapter("spark").check_java()
    java(tmp_path, "17.0.15")
    adapter("spark").check_java()


def test_a_run_on_spark_without_java_is_a_run_error(ratings: Ratings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = installed("spark")
    stopped()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(RunError, match="spark: RuntimeError: Java 17 or newer is needed"):
        trained(peer, ratings, 1, True, True)
