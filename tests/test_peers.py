"""Peers: other libraries as backends, each in an environment of its own; what goes wrong costs their own runs only."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tiny_peer import write_peer
from trainings import made
from user_files import write_spec
from waiting import wait_until

import mfbench
from mfbench.backends import registry
from mfbench.backends.peers import process
from mfbench.backends.peers.adapters import serve
from mfbench.backends.peers.environments import PeerEnvironment
from mfbench.backends.peers.inventory import get_peer, list_peers, remove_peer
from mfbench.backends.peers.peer import ADAPTERS, Peer
from mfbench.core.errors import InputError, RunError, WorkError
from mfbench.runs.record_files import study_records
from mfbench.testing import BackendContract, small_ratings, train_models


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the environment of a small peer, made once: that takes seconds."""
    folder = tmp_path_factory.mktemp("peers")
    name = write_peer(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MFBENCH_PEERS", str(folder / "home"))
        said = get_peer(name)
    assert (said["name"], said["version"], said["state"]) == ("tiny", "1.5", "ready")
    return folder


@pytest.fixture
def tiny(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of that peer in a spec."""
    monkeypatch.setenv("MFBENCH_PEERS", str(home / "home"))
    return f"{home / 'tiny_peer_class.py'}:Tiny"


@pytest.fixture
def peer(tiny: str) -> Any:
    return registry.resolve(tiny, {})


def stopped() -> None:
    """End the process that waits for the next training."""
    while process._idle:
        process._idle.pop()[1].stop()


class TestContract(BackendContract):
    """What every backend must do."""

    @pytest.fixture(autouse=True)
    def _the_peer(self, peer: Any) -> None:
        type(self).backend = peer


# --- the environment -------------------------------------------------------------------------------------------------


def test_it_has_only_what_is_pinned(home: Path) -> None:
    found = json.loads((home / "home/tiny/installed.json").read_text())
    assert found["packages"] == {"tinymf": "1.5"}
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))


def test_get_and_remove_as_commands(
    tiny: str, home: Path, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = command("peers", "get", tiny, "--json")  # it is there: nothing to do
    assert (status, json.loads(out.splitlines()[-1])["versions"]["tinymf"]) == (0, "1.5")
    status, out, _ = command("peers", "list", "--json")
    listed = {one["name"]: one["state"] for one in json.loads(out.splitlines()[-1])["peers"]}
    assert (status, listed["tiny"], listed["surprise"]) == (0, "ready", "missing")
    monkeypatch.setenv("MFBENCH_PEERS", str(home / "elsewhere"))
    (home / "elsewhere" / "surprise").mkdir(parents=True)  # as of an installation that was interrupted
    status, out, _ = command("peers", "remove", "surprise")
    assert (status, out.strip()) == (0, "surprise is removed")
    assert not (home / "elsewhere" / "surprise").exists()
    assert command("peers", "remove", "surprise")[1].strip() == "surprise was not installed"


def test_an_unknown_peer_names_those_there_are() -> None:
    with pytest.raises(InputError, match=r"unknown peer 'nope'; choose from surprise.*mine.py:Mine"):
        remove_peer("nope")
    with pytest.raises(InputError, match="Loop is not a peer; derive"):
        get_peer("mfbench.backends.loop:Loop")


def test_other_pins_make_it_outdated(peer: Any, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("tinymf==2\n")
    assert PeerEnvironment("tiny", tmp_path / "other.txt").state == "outdated"
    assert peer.environment().state == "ready"


def test_what_does_not_install_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFBENCH_PEERS", str(tmp_path / "home"))

    def pip(words: Any, **_: Any) -> Any:
        (tmp_path / "home/tiny/bin").mkdir(parents=True, exist_ok=True)
        return subprocess.CompletedProcess(words, "install" in words, "", "ERROR: no matching distribution\nlog: x\n")

    monkeypatch.setattr(subprocess, "run", pip)
    (tmp_path / "tiny.txt").write_text("tinymf==99\n")
    environment = PeerEnvironment("tiny", tmp_path / "tiny.txt")
    with pytest.raises(WorkError, match=r"tiny could not be installed \(ERROR: no matching distribution\); check the network"):
        environment.get()
    assert not environment.folder.exists()
    assert environment.state == "missing"


def test_each_adapter_has_pins_and_says_how_hyperparameters_translate() -> None:
    for name in registry.PEERS:
        backend = registry.backend_class(name)
        adapter, pins = backend.source()
        assert adapter.parent == ADAPTERS
        assert all("==" in line for line in pins.read_text().splitlines())
        says = set(re.split(r"\W+", adapter.read_text().split('"""')[1]))
        assert backend.tunable & {"alpha", "beta"} <= says
    assert {one["name"] for one in list_peers()} >= {registry.backend_class(name).peer for name in registry.PEERS}


# --- a training ------------------------------------------------------------------------------------------------------


def test_a_message_arrives_as_it_was_sent() -> None:
    arrays: dict[str, Any] = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.float64(2.5),
        "c": np.zeros((0, 4), np.int32),
        "d": np.arange(8)[::2],
    }
    stream = io.BytesIO()
    serve.send(stream, {"train": {"K": 2}}, arrays)
    stream.seek(0)
    header, found = serve.receive(stream)
    assert header == {"train": {"K": 2}}
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)
    with pytest.raises(EOFError):
        serve.receive(stream)


@pytest.mark.parametrize(
    "nonsense", [b"nonsense\n", b"[1]\n", b'{"arrays": {"P": ["O", [2]]}}\n', b'{"arrays": {"P": ["f8", [-1]]}}\n']
)
def test_nonsense_is_no_message(nonsense: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        serve.receive(io.BytesIO(nonsense))


def test_a_process_serves_one_training_after_another_with_the_same_bits(peer: Any) -> None:
    stopped()
    first = train_models(peer, small_ratings())[-1].arrays()
    pid = process._idle[0][1]._process.pid
    other = train_models(peer, small_ratings(), K=5)
    again = train_models(peer, small_ratings())[-1].arrays()
    assert process._idle[0][1]._process.pid == pid
    assert other[-1].arrays()["P"].shape == (12, 5)
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)


def test_a_training_that_is_given_up_leaves_the_process_usable(peer: Any) -> None:
    train_models(peer, small_ratings())
    pid = process._idle[0][1]._process.pid
    models = peer.epochs(*arguments())
    next(models)
    next(models)
    models.close()
    assert process._idle[0][1]._process.pid == pid
    assert len(train_models(peer, small_ratings())) == 4


def arguments() -> Any:
    from mfbench.matrix.factors import HyperParams, draw_start

    rng = np.random.default_rng(0)
    train = small_ratings()
    return train, draw_start(train, 2, {"normal": 0.1}, True, rng), HyperParams(2, 0.01, 0.1, 3, True), None, rng


def test_predictions_instead_of_factors(peer: Any) -> None:
    train = small_ratings()
    table, factors = (train_models(replace(peer, mode=mode), train)[-1] for mode in ("table", "fine"))
    assert table.arrays().keys() == {"predictions"}
    np.testing.assert_allclose(table.predict(train.users, train.items), factors.predict(train.users, train.items))


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("error", "tiny: ValueError: no such thing; see its adapter"),
        ("crash", r"tiny: its process ended with exit status 3 \(out of luck\); see its adapter"),
        ("hang", "tiny: it did not answer within 0.7 s; raise its option timeout"),
        ("nonsense", "tiny: its adapter answered with something else than a message"),
        ("shape", r"tiny: its adapter answered P \[11, 3\], .*; it must yield P \[12, K\]"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(peer: Any, mode: str, says: str) -> None:
    with pytest.raises(RunError, match=says):
        train_models(replace(peer, mode=mode, timeout=0.7 if mode == "hang" else 60.0), small_ratings())
    assert len(train_models(peer, small_ratings())) == 4  # and the next training is none the worse


def test_a_peer_ends_with_the_process_that_started_it(tiny: str) -> None:
    code = (
        "import sys; from mfbench.backends import registry; from mfbench.backends.peers.process import PeerProcess\n"
        "peer = registry.backend_class(sys.argv[1])\n"
        "process = PeerProcess(peer.environment(), peer.source()[0]); print(process._process.pid, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code, tiny], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


# --- in a spec -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("workplace")
def test_a_peer_that_is_not_there_says_how_to_get_it(
    small: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MFBENCH_PEERS", str(tmp_path / "none"))
    record = made(small, "surprise")
    assert record.outcome == "failed"
    assert record.reason == "surprise is not installed; run `mfbench peers get surprise`"


@pytest.mark.usefixtures("stored")
def test_a_sweep_with_a_peer_that_fails_now_and_then(small: dict[str, Any], tiny: str) -> None:
    alpha = {"float": [0.01, 0.02]}
    spaces = {"loop": {"alpha": alpha}, tiny: {"alpha": alpha, "mode": {"choice": ["fine", "crash"]}}}
    small["sweep"] = {"backends": ["loop", tiny], "sampler": "grid", "trials": 4, "grid": {"alpha": 2}, "spaces": spaces}
    small["sweep"] |= {"space": {"K": 3}}
    result = mfbench.sweep(write_spec(small))
    records = study_records(result.swept.study)
    outcomes = {(one.backend != "loop", one.hyper.get("mode"), one.outcome) for one in records if one.stage == "trial"}
    assert outcomes == {(False, None, "completed"), (True, "fine", "completed"), (True, "crash", "failed")}
    ours, theirs = sorted(result.swept.finals, key=lambda one: one.backend != "loop")
    assert ours.test_rmse is not None
    assert theirs.test_rmse is not None
    assert (theirs.options["mode"], theirs.environment.device["tinymf"]) == ("fine", "1.5")
    assert theirs.backend_digest == registry.digest(theirs.backend)
    assert mfbench.reproduce(theirs.run_key, trust=True).verdict == "to the bit"


@pytest.mark.usefixtures("workplace")
def test_a_peer_without_epochs_trains_once(small: dict[str, Any], tiny: str) -> None:
    record = made(small, f"{tiny}InOneGo")
    assert (record.outcome, record.planned_epochs, record.epochs) == ("completed", 1, 1)


def test_a_changed_adapter_is_another_backend(tiny: str, home: Path) -> None:
    before = registry.digest(tiny)
    adapter = home / "tiny.py"
    text = adapter.read_text()
    try:
        adapter.write_text(text + "# changed\n")
        assert registry.digest(tiny) != before
    finally:
        adapter.write_text(text)
    assert registry.digest(tiny) == before
    assert registry.digest("surprise") == registry.digest("surprise-svdpp")
    assert issubclass(registry.backend_class("surprise"), Peer)
