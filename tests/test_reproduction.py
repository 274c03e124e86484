"""Runs made again from their records: what agrees to the bit, and what is said of another record, data or machine."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mfbench
from mfbench.commands.differences import Difference
from mfbench.commands.reproduce import Line, Reproduction
from mfbench.core.errors import InputError
from mfbench.data.splits import parts_of
from mfbench.runs.jobs import Job, job_of
from mfbench.runs.progress import Watcher
from mfbench.runs.record_files import read_record, study_records, write_record
from mfbench.runs.records import Record, RunName
from mfbench.runs.training import train_and_record
from mfbench.search.sweep import Plan
from mfbench.spec import load_spec
from mfbench.tracking.client import Tracker

BACKENDS = ["loop", "numba", "jax", "mlp", "mean"]


def job(spec: Any, backend: str = "loop", stage: Any = "run", **more: Any) -> Job:
    checked = load_spec(spec)
    changes = {"K": 3, "alpha": 0.01, "beta": 0.05, **{name: more.pop(name) for name in ("alpha",) if name in more}}
    return job_of(checked, "small-1", backend, stage, changes=changes, epochs=checked.model.epochs, **more)


def made(spec: Any, *given: Any, watch: Any = None, **more: Any) -> Record:
    one = job(spec, *given, **more)
    (record,) = train_and_record([one], parts_of(one.spec), watch)
    return record


def plain(spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The spec with those hyperparameters of `job` for its model's, and no sweep."""
    model = {**spec["model"], "backend": "loop", "K": 3, "alpha": 0.01, "beta": 0.05}
    return {**{name: value for name, value in spec.items() if name != "sweep"}, "model": model, **more}


def edited(record: Record, sealed: bool = False, **changes: Any) -> Record:
    """The record with other values written into its file; sealed anew, as one would who knows how."""
    path = record.path
    tree = json.loads(path.read_text())
    tree["hyper"] |= {name: changes.pop(name) for name in ("K", "alpha", "beta") if name in changes}
    path.write_text(json.dumps({**tree, **changes}))
    if sealed:
        write_record(read_record(path))
    return read_record(path)


def own_file(shuffled: bool = False, last: float = 3.0) -> dict[str, Any]:
    """A data section, and the file that it names: 400 ratings; `last` is the value of one of them."""
    lines = [f"{user},{item},{(3 * user + item) % 5 + 1}" for user in range(20) for item in range(20)]
    lines[-1] = f"19,19,{last}"
    if shuffled:
        random.Random(0).shuffle(lines)
    Path("ratings.csv").write_text("\n".join(["user,item,rating", *lines]) + "\n")
    return {"file": "ratings.csv"}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder in which a small sweep of all backends has run, its MLflow aside; and its data home."""
    folder, shared = tmp_path_factory.mktemp("swept"), tmp_path_factory.getbasetemp() / "shared"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MFBENCH_DATA", str(folder / "data"))
        patch.setenv("MFBENCH_CACHE", str(shared / "cache"))
        spec = {
            "name": "all",
            "data": {"planted": {"users": 60, "items": 80, "ratings": 2000, "seed": 1}},
            "split": {"kind": "random", "valid": 0.15, "test": 0.15, "seed": 7},
            "model": {"epochs": 3, "center": True, "bias": True, "evaluate_every": 2},
            "sweep": {"trials": 2, "batch": 2, "backends": BACKENDS, "space": {"K": {"int": [2, 6]}}},
        }
        yield Plan.of(load_spec(spec)).execute(1, Watcher())


# --- runs of every kind ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["trial", "final"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_of_a_sweep_is_made_again_to_the_bit_also_when_its_data_is_gone(swept: Any, backend: str, stage: str) -> None:
    shutil.rmtree("data", ignore_errors=True)
    records = swept.trials[backend] if stage == "trial" else [one for one in swept.finals if one.backend == backend]
    before = {path: path.read_bytes() for path in Path("runs").rglob("*.*") if path.suffix in (".json", ".npz")}
    log = Path("runs", swept.study, "test-openings.jsonl")
    openings = log.read_text().splitlines()
    result = mfbench.reproduce(records[-1].run_key, strict=True)
    assert result.verdict == "to the bit", result.sentence
    assert result.found == []
    assert result.record is not None
    assert result.record.result == records[-1].result
    assert {line.what for line in result.lines} >= {"factors", *(["evaluation"] if stage == "final" else [])}
    assert {path: path.read_bytes() for path in before} == before
    new = log.read_text().splitlines()[len(openings) :]
    assert [json.loads(line)["reason"].startswith("to reproduce") for line in new] == [True] * (stage == "final")


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_plain_run_from_its_record_alone(small: dict[str, Any], threads: int) -> None:
    spec = plain(small)
    spec["model"] |= {"backend": "numba", "options": {"numba": {"threads": threads, "blocks": 4}}}
    record = made(spec, "numba")
    path = RunName(study="small-1", backend="numba", stage="run", number=0).path.replace(Path("elsewhere.json"))
    shutil.rmtree("runs")
    result = mfbench.reproduce(path)
    assert result.verdict == "to the bit", result.sentence
    assert result.record is not None
    assert (
        result.record.options == record.options == {"schedule": "blocks", "blocks": 4, "threads": threads, "dtype": "float32"}
    )
    assert not Path("runs").exists()


@pytest.mark.usefixtures("workplace")
def test_one_that_was_pruned_stops_after_as_many_epochs(small: dict[str, Any]) -> None:
    record = made(small, stage="trial", watch=lambda *told: told[1] == 2)
    result = mfbench.reproduce(record.run_key)
    assert result.verdict == "to the bit", result.sentence
    assert result.record is not None
    assert (result.record.outcome, result.record.epochs, result.record.planned_epochs) == ("pruned", 2, 3)


@pytest.mark.usefixtures("workplace")
def test_one_that_diverged_or_failed_does_so_again(small: dict[str, Any]) -> None:
    record = made(plain(small), alpha=50.0, stage="trial")
    assert record.outcome == "diverged"
    (outcome,) = [line for line in mfbench.reproduce(record.run_key).lines if line.what == "outcome"]
    assert (outcome.here, outcome.agrees) == ("diverged", True)
    Path("mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from mfbench.backends.loop import Loop\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Loop):\n"
        "    def epochs(self, *given): raise ZeroDivisionError('no')\n"
    )
    failed = made(plain(small), "mine.py:Mine")
    assert failed.outcome == "failed"
    assert mfbench.reproduce(failed.run_key).verdict == "to the bit"


@pytest.mark.usefixtures("workplace")
def test_a_knob_whose_default_has_changed_since_is_as_it_was(small: dict[str, Any]) -> None:
    Path("mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from mfbench.backends.loop import Loop\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Loop):\n"
        "    twice: bool = False\n"
        "    def epochs(self, train, start, hyper, schedule, rng):\n"
        "        for n, model in enumerate(super().epochs(train, start, hyper, schedule, rng)):\n"
        "            yield model\n"
    )
    record = made(plain(small), "mine.py:Mine")
    Path("mine.py").write_text(Path("mine.py").read_text().replace("False", "True"))
    result = mfbench.reproduce(record.run_key)
    assert result.record is not None
    assert result.record.options["twice"] is False
    assert result.verdict == "to the bit"
    (changed,) = result.found
    assert changed.says == "its file has changed since the run"
    assert mfbench.reproduce(record.run_key, strict=True).verdict == "refused"


# --- what was changed by hand ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("workplace")
def test_one_float_in_the_record(small: dict[str, Any]) -> None:
    record = made(plain(small))
    scores = record.model_dump()["scores"]
    scores["valid_rmse"][1] += 1e-7
    result = mfbench.reproduce(edited(record, scores=scores).run_key)
    assert result.verdict == "not reproduced"
    assert result.cause == "record: it was changed after it was written"
    (line,) = [line for line in result.lines if not line.agrees]
    assert (line.what, line.says, line.epoch) == ("valid_rmse by epoch", "2 of 3", 2)
    assert line.largest == pytest.approx(1e-7 / scores["valid_rmse"][1], rel=1e-6)


@pytest.mark.usefixtures("workplace")
def test_one_metric_of_the_evaluation(small: dict[str, Any]) -> None:
    record = made(plain(small))
    result = mfbench.reproduce(edited(record, evaluation=record.evaluation | {"valid_map_10": 0.5}).run_key)
    (line,) = [line for line in result.lines if not line.agrees]
    n = len(record.evaluation)
    assert (line.what, line.says, line.recorded) == ("evaluation", f"{n - 1} of {n}", f"{n} metrics")


@pytest.mark.usefixtures("workplace")
def test_a_float_that_no_run_gives_is_caught_by_the_seal(small: dict[str, Any]) -> None:
    record = made(plain(small))
    result = mfbench.reproduce(edited(record, ended=record.ended + 1).run_key)
    assert all(line.agrees for line in result.lines)
    assert result.verdict == "not reproduced"


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("sealed", [False, True])
def test_another_alpha_in_the_record(small: dict[str, Any], sealed: bool) -> None:
    record = made(plain(small))
    result = mfbench.reproduce(edited(record, sealed, alpha=0.02).run_key)
    assert result.verdict == "not reproduced"
    assert "alpha: the record says 0.02, and its own spec 0.01" in str(result.cause)
    assert ("changed after it was written" in str(result.cause)) == (not sealed)
    assert not any(line.agrees for line in result.lines if line.what in ("train_rmse", "factors"))


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"options": {"nope": 3}}, "model.options.loop.nope: unknown key"),
        ({"backend": "nope"}, "backend: unknown backend 'nope'"),
    ],
)
def test_a_record_that_no_longer_can_be_run_is_told_apart_from_a_wrong_spec(
    small: dict[str, Any], changes: dict[str, Any], why: str
) -> None:
    path = made(plain(small)).path
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError) as error:
        mfbench.reproduce(path)
    assert f"{path}: this record was changed after it was written, and cannot be run as it is ({why}" in str(error.value)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"spec": {}}, "spec.name: Field required"),
        ({"environment": {"threads": "two"}}, "environment.threads: Input should be"),
    ],
)
def test_a_record_that_is_no_record_is_damaged(small: dict[str, Any], changes: dict[str, Any], where: str) -> None:
    path = made(plain(small)).path
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError) as error:
        mfbench.reproduce(path)
    assert f"{path}: this record is damaged ({where}" in str(error.value)


@pytest.mark.usefixtures("workplace")
def test_a_trial_outside_its_space_or_with_another_knob(small: dict[str, Any]) -> None:
    small["model"]["options"] = {"loop": {"order": "rows"}}
    small["sweep"]["spaces"] = {"loop": {"alpha": 0.02}}
    record = edited(made(small, stage="trial"), sealed=True, K=7, beta=0.7, options={"order": "shuffled"})
    result = mfbench.reproduce(record.run_key)
    assert sorted(one.what for one in result.found) == ["K", "alpha", "beta", "order"]
    assert result.verdict == "not reproduced"


@pytest.mark.usefixtures("workplace")
def test_one_rating_in_the_data(small: dict[str, Any]) -> None:
    record = made(plain(small, data=own_file()))
    own_file(last=4.0)
    result = mfbench.reproduce(record.run_key)
    assert result.verdict == "not reproduced"
    assert result.cause == "data: these are not the ratings of the run"


@pytest.mark.usefixtures("workplace")
def test_the_order_of_a_files_rows_matters_only_to_a_split_that_is_about_it(small: dict[str, Any]) -> None:
    random_split = made(plain(small, data=own_file()))
    tail_split = made(plain(small, data=own_file(), split={"kind": "tail", "valid": 0.1}), stage="trial")
    own_file(shuffled=True)
    assert mfbench.reproduce(random_split.run_key).verdict == "to the bit"
    result = mfbench.reproduce(tail_split.run_key)
    assert [one.what for one in result.found if one.weight == "fault"] == ["split"]
    assert result.verdict == "not reproduced"
    Path("ratings.csv").rename("moved.csv")
    assert mfbench.reproduce(random_split.run_key, data="moved.csv").verdict == "to the bit"
    with pytest.raises(InputError, match=r"^ratings\.csv: .* are not there; say where they are with --data FILE$"):
        mfbench.reproduce(random_split.run_key)


@pytest.mark.usefixtures("workplace")
def test_a_file_for_a_run_that_is_on_none(small: dict[str, Any]) -> None:
    record = made(plain(small))
    with pytest.raises(InputError, match=r"^--data own\.csv: .* is not on a file of your own; leave --data out$"):
        mfbench.reproduce(record.run_key, data="own.csv")


@pytest.mark.usefixtures("workplace")
def test_a_record_that_would_lead_out_of_runs_is_damaged(small: dict[str, Any]) -> None:
    path = made(plain(small)).path
    path.write_text(json.dumps({**json.loads(path.read_text()), "study": "../../elsewhere"}))
    with pytest.raises(InputError, match=r"damaged \(study: "):
        mfbench.reproduce(path)
    with pytest.raises(InputError, match="give a run key"):
        mfbench.reproduce("../loop/0/run")


# --- what was made elsewhere -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("workplace")
def test_what_differs_is_named_and_refused_where_it_may_matter(small: dict[str, Any]) -> None:
    record = made(plain(small))
    told = record.model_dump()["environment"]
    told["versions"] |= {"numpy": "1.0", "optuna": "1.0"}
    told |= {"cpu": "Another CPU", "source": "ab" * 8, "git_commit": "12345678" * 5, "git_diff": None, "threads": 64}
    told["device"] = {"platform": "gpu", "kind": "A GPU"}
    told["settings"] = {**told["settings"], "NUMBA_CPU_NAME": "generic"}
    edited(record, sealed=True, environment=told)
    result = mfbench.reproduce(record.run_key)
    by_weight = {weight: [one.what for one in result.found if one.weight == weight] for weight in ("fault", "bits", "note")}
    bits = ["code", "numpy", "NUMBA_CPU_NAME", "kind", "platform", "cpu"]
    assert by_weight == {"fault": [], "bits": bits, "note": ["threads"]}
    (code,) = [one for one in result.found if one.what == "code"]
    assert code.recorded == "commit 12345678"
    assert result.verdict == "to the bit"
    strict = mfbench.reproduce(record.run_key, strict=True)
    assert (strict.verdict, strict.reproduced, strict.lines) == ("refused", False, [])
    assert "numpy: another version" in strict.sentence
    told = {**told, **record.environment.model_dump(), "git_commit": "f" * 40, "threads": 64}
    edited(record, sealed=True, environment=told)
    assert mfbench.reproduce(record.run_key, strict=True).verdict == "to the bit"


def _difference(weight: Any) -> Difference:
    return Difference("cpu", "A", "B", weight, "another processor")


NEAR = Line("valid_rmse", "0.9", "0.9", False, "no", 1e-6)
FAR = replace(NEAR, largest=0.1)
OTHER = Line("outcome", "completed", "diverged", False, "no")
SAME = Line("outcome", "completed", "completed", True, "yes")
FACTORS = Line("factors", "ab", "cd", False, "no")


@pytest.mark.parametrize(
    ("found", "exact", "lines", "verdict", "cause"),
    [
        ([], True, [SAME], "to the bit", None),
        ([], True, [SAME, NEAR], "not reproduced", "nothing that was recorded differs"),
        (["bits"], True, [SAME, NEAR, FACTORS], "within tolerance", "cpu: another processor"),
        (["bits"], True, [SAME, FAR], "not reproduced", "cpu: another processor"),
        (["bits"], True, [OTHER, NEAR], "not reproduced", "cpu: another processor"),
        (["note"], True, [SAME, NEAR], "not reproduced", "cpu: another processor"),
        (["fault", "bits"], True, [SAME], "not reproduced", "cpu: another processor"),
        ([], False, [SAME, NEAR, FACTORS], "within tolerance", "in no fixed order"),
        (["bits"], True, [], "refused", "cpu: another processor"),
    ],
)
def test_a_tolerance_is_for_what_can_change_the_last_bits(
    found: list[str], exact: bool, lines: list[Line], verdict: str, cause: str | None
) -> None:
    result = Reproduction("a/b/0/run", [_difference(weight) for weight in found], lines, exact, None)
    assert result.verdict == verdict
    assert (cause or "") in (result.cause or "")
    assert result.reproduced == (verdict in ("to the bit", "within tolerance"))


# --- from MLflow, and on the command line ----------------------------------------------------------------------------


@pytest.mark.usefixtures("stored")
def test_from_mlflow_alone(small: dict[str, Any]) -> None:
    record = made(plain(small))
    run_id = Tracker("small").export(record, None)
    shutil.rmtree("runs")
    for given in (run_id, run_id[:8]):
        result = mfbench.reproduce(given)
        assert (result.run_key, result.verdict) == (record.run_key, "to the bit")


@pytest.mark.usefixtures("workplace")
def test_what_is_no_run_is_wrong_input(small: dict[str, Any]) -> None:
    made(plain(small))
    Path("damaged.json").write_text("{")
    Path("other.json").write_text("{}")
    for given, says in {
        "small": "give a run key", "small-1/loop/7/run": "no record of this run", "none.json": "no such record",
        "damaged.json": r"damaged \(Invalid JSON: EOF", "other.json": r"damaged \(study: Field required\)",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=says):
            mfbench.reproduce(given)


def reproduce(*words: str) -> tuple[int, Any, str]:
    command = [sys.executable, "-m", "mfbench", "reproduce", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]) if done.stdout else None, done.stderr


@pytest.mark.usefixtures("workplace")
def test_the_command(small: dict[str, Any]) -> None:
    record = made(plain(small))
    status, answer, said = reproduce(record.run_key)
    assert status == 0, said
    assert "small-1/loop/0/run: reproduced to the bit, 13 of 13 comparisons" in said
    again = json.loads(json.dumps(mfbench.reproduce(record.run_key).summary()))
    assert answer["reproduced"] is True
    assert all(key.endswith("_seconds") for key in again if again[key] != answer[key])
    edited(record, train_rmse=0.5)
    status, answer, said = reproduce(record.run_key, "--strict")
    assert (status, answer["verdict"], answer["lines"]) == (1, "refused", [])
    assert said.splitlines()[-1].startswith("small-1/loop/0/run: not run, for --strict was given")
    status, answer, said = reproduce("small-1/loop/1/run")
    assert (status, answer) == (2, None)
    assert len(said.splitlines()) == 1


def test_the_records_of_the_sweep_are_sealed(swept: Any) -> None:
    assert all(record.is_sealed for record in study_records(swept.study))
