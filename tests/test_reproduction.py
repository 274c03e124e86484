"""Runs made again from their records: what agrees to the bit, and what is said of another record, data or machine."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import sweeping
from processes import last_line
from record_factory import rewritten
from refusals import refused
from trainings import made
from user_files import write_backend, write_ratings

import mfbench
from mfbench.commands.differences import Difference, Line
from mfbench.commands.reproduce import Reproduction
from mfbench.core.errors import InputError
from mfbench.runs.record_files import study_records
from mfbench.runs.records import RunName
from mfbench.tracking.client import Tracker

UNLIKE = "was changed after it was written and cannot be re-run"
BACKENDS = ["loop", "numba", "jax", "mlp", "mean"]


def plain(spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The spec with those hyperparameters of `job` for its model's, and no sweep."""
    model = {**spec["model"], "backend": "loop", "K": 3, "alpha": 0.01, "beta": 0.05}
    return {**{name: value for name, value in spec.items() if name != "sweep"}, "model": model, **more}


def own_file(shuffled: bool = False, last: float = 3.0) -> dict[str, Any]:
    """A data section, and the file that it names: 400 ratings; `last` is the value of one of them."""
    rows: list[Any] = [(user, item, (3 * user + item) % 5 + 1) for user in range(20) for item in range(20)]
    rows[-1] = (19, 19, last)
    return write_ratings(random.Random(0).sample(rows, len(rows)) if shuffled else rows)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Any:
    """A folder in which a small sweep of all backends has run, its MLflow aside; and its data home."""
    folder = tmp_path_factory.mktemp("swept")
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
        result = sweeping.swept(spec)
        assert all(record.is_sealed for record in study_records(result.study))
        yield result


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
        result.record.options
        == record.options
        == {"schedule": "blocks", "blocks": 4, "threads": threads, "dtype": "float32", "simultaneous": False}
    )
    assert not Path("runs").exists()


@pytest.mark.usefixtures("workplace")
def test_one_that_was_pruned_stops_after_as_many_epochs(small: dict[str, Any]) -> None:
    record = made(small, "loop", "trial", watch=lambda *told: told[1] == 2)
    result = mfbench.reproduce(record.run_key)
    assert result.verdict == "to the bit", result.sentence
    assert result.record is not None
    assert (result.record.outcome, result.record.epochs, result.record.planned_epochs) == ("pruned", 2, 3)


@pytest.mark.usefixtures("workplace")
def test_one_that_diverged_or_failed_does_so_again(small: dict[str, Any]) -> None:
    record = made(plain(small), "loop", "trial", alpha=50.0)
    assert record.outcome == "diverged"
    (outcome,) = [line for line in mfbench.reproduce(record.run_key).lines if line.what == "outcome"]
    assert (outcome.here, outcome.agrees) == ("diverged", True)
    failed = made(plain(small), write_backend("raise ZeroDivisionError('no')"))
    assert failed.outcome == "failed"
    assert mfbench.reproduce(failed.run_key).verdict == "to the bit"


@pytest.mark.usefixtures("workplace")
def test_a_knob_whose_default_has_changed_since_is_as_it_was(small: dict[str, Any]) -> None:
    record = made(plain(small), write_backend("", fields="twice: bool = False"))
    write_backend("", fields="twice: bool = True")
    result = mfbench.reproduce(record.run_key)
    assert result.record is not None
    assert result.record.options["twice"] is False
    assert result.verdict == "to the bit"
    (changed,) = result.found
    assert changed.says == "its file has changed since the run"
    assert mfbench.reproduce(record.run_key, strict=True).verdict == "refused"


# --- what was changed by hand ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("workplace")
def test_what_was_changed_in_a_record_is_named_and_its_seal_is_broken(small: dict[str, Any]) -> None:
    record = made(plain(small))
    whole = json.loads(record.path.read_text())
    one_float = record.model_dump()["scores"]
    one_float["valid_rmse"][1] += 1e-7
    metrics = record.evaluation | {"valid_map_10": 0.5}
    n = len(metrics)
    for changes, lines in [
        ({"scores": one_float}, [("valid_rmse by epoch", "2 of 3", 2)]),
        ({"evaluation": metrics}, [("evaluation", f"{n - 1} of {n}", None)]),
        ({"ended": record.ended + 1}, []),  # which no run gives again
    ]:
        result = mfbench.reproduce(rewritten(record.path, **{**whole, **changes}).run_key)
        assert (result.verdict, result.cause) == ("not reproduced", "record: it was changed after it was written")
        disagree = [line for line in result.lines if not line.agrees]
        assert [(line.what, line.says, line.epoch) for line in disagree] == lines
        if "scores" in changes:
            assert disagree[0].largest == pytest.approx(1e-7 / one_float["valid_rmse"][1], rel=1e-6)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("sealed", [False, True])
def test_another_alpha_in_the_record(small: dict[str, Any], sealed: bool) -> None:
    record = made(plain(small))
    result = mfbench.reproduce(rewritten(record.path, sealed, hyper=record.hyper | {"alpha": 0.02}).run_key)
    assert result.verdict == "not reproduced"
    assert "alpha: the record has 0.02, but its spec has 0.01" in str(result.cause)
    assert ("changed after it was written" in str(result.cause)) == (not sealed)
    assert not any(line.agrees for line in result.lines if line.what in ("train_rmse", "factors"))


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"options": {"nope": 3}}, f"{UNLIKE} (model.options.loop.nope: unknown key"),
        ({"spec": {}}, "is damaged (spec.name: Field required"),
        ({"environment": {"threads": "two"}}, "is damaged (environment.threads: Input should be"),
        ({"study": "../../elsewhere"}, "is damaged (study: "),  # it would lead out of runs/
    ],
)
def test_a_record_that_can_no_longer_be_run_is_told_apart_from_a_wrong_spec(
    small: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    path = made(plain(small)).path
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with refused(InputError, f"{path}: this record {says}"):
        mfbench.reproduce(path)


@pytest.mark.usefixtures("workplace")
def test_a_trial_outside_its_space_or_with_another_knob(small: dict[str, Any]) -> None:
    small["model"]["options"] = {"loop": {"order": "rows"}}
    small["sweep"]["spaces"] = {"loop": {"alpha": 0.02}}
    trial = made(small, "loop", "trial")
    rewritten(trial.path, sealed=True, hyper=trial.hyper | {"K": 7, "beta": 0.7}, options={"order": "shuffled"})
    result = mfbench.reproduce(trial.run_key)
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
    tail_split = made(plain(small, data=own_file(), split={"kind": "tail", "valid": 0.1}), "loop", "trial")
    own_file(shuffled=True)
    assert mfbench.reproduce(random_split.run_key).verdict == "to the bit"
    result = mfbench.reproduce(tail_split.run_key)
    assert [one.what for one in result.found if one.weight == "fault"] == ["split"]
    assert result.verdict == "not reproduced"
    Path("ratings.csv").rename("moved.csv")
    assert mfbench.reproduce(random_split.run_key, data="moved.csv").verdict == "to the bit"
    with pytest.raises(InputError, match=r"^ratings\.csv: .* does not exist; give its path with --data FILE$"):
        mfbench.reproduce(random_split.run_key)


# --- what was made elsewhere -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("workplace")
def test_what_differs_is_named_and_refused_where_it_may_matter(small: dict[str, Any]) -> None:
    record = made(plain(small))
    told = record.model_dump()["environment"]
    told["versions"] |= {"numpy": "1.0", "optuna": "1.0"}
    told |= {"cpu": "Another CPU", "source": "ab" * 8, "git_commit": "12345678" * 5, "git_diff": None, "threads": 64}
    told["device"] = {"platform": "gpu", "kind": "A GPU"}
    told["settings"] = {**told["settings"], "NUMBA_CPU_NAME": "generic"}
    rewritten(record.path, sealed=True, environment=told)
    result = mfbench.reproduce(record.run_key)
    by_weight = {weight: [one.what for one in result.found if one.weight == weight] for weight in ("fault", "bits", "note")}
    bits = ["code", "numpy", "NUMBA_CPU_NAME", "kind", "platform", "cpu"]
    assert by_weight == {"fault": [], "bits": bits, "note": ["threads"]}
    (code,) = [one for one in result.found if one.what == "code"]
    assert code.recorded == "commit 12345678"
    assert result.verdict == "to the bit"
    strict = mfbench.reproduce(record.run_key, strict=True)
    assert (strict.verdict, strict.reproduced, strict.lines) == ("refused", False, [])
    assert "numpy: different version" in strict.sentence
    told = {**told, **record.environment.model_dump(), "git_commit": "f" * 40, "threads": 64}
    rewritten(record.path, sealed=True, environment=told)
    assert mfbench.reproduce(record.run_key, strict=True).verdict == "to the bit"


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("backend", ["adam", "mlp", "als"])
def test_a_record_of_when_the_default_was_jax_on_a_cpu_is_made_again_by_jax(small: dict[str, Any], backend: str) -> None:
    spec = plain(small)
    spec["model"] |= {"backend": backend, "options": {backend: {"device": "cpu"}}}
    record = made(spec, backend)
    told = record.spec.model_dump(mode="json")
    told["model"]["options"] = {}
    rewritten(record.path, sealed=True, spec=told, options={**record.options, "device": None})
    again = mfbench.reproduce(record.run_key)
    assert again.verdict == "to the bit"
    assert again.record is not None
    assert again.record.environment.device == record.environment.device


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
    differences = [Difference("cpu", "A", "B", cast(Any, weight), "another processor") for weight in found]
    result = Reproduction("a/b/0/run", differences, lines, exact, None)
    assert result.verdict == verdict
    assert (cause or "") in (result.cause or "")
    assert result.reproduced == (verdict in ("to the bit", "within tolerance"))


# --- from MLflow, and on the command line ----------------------------------------------------------------------------


@pytest.mark.usefixtures("stored")
def test_a_run_that_fails_here_says_why(small: dict[str, Any]) -> None:
    own = write_backend("if pathlib.Path('gone').exists():\n    raise ZeroDivisionError('no')")
    record = made(plain(small), own)
    Path("gone").touch()
    again = mfbench.reproduce(record.run_key)
    assert again.verdict == "not reproduced"
    assert "likely cause: the run failed here (ZeroDivisionError: no" in again.sentence


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
        "damaged.json": "damaged (Invalid JSON: EOF", "other.json": "damaged (study: Field required)",
        "../loop/0/run": "give a run key",
    }.items():  # fmt: skip
        with refused(InputError, says):
            mfbench.reproduce(given)
    with refused(InputError, "--data own.csv: ", "leave --data out"):
        mfbench.reproduce("small-1/loop/0/run", data="own.csv")


@pytest.mark.usefixtures("workplace")
def test_the_command(command: Any, small: dict[str, Any]) -> None:
    def reproduce(*words: str) -> tuple[int, Any, str]:
        status, out, err = command("reproduce", *words, "--json")
        return status, last_line(out) if out else None, err

    record = made(plain(small))
    status, answer, said = reproduce(record.run_key)
    assert status == 0, said
    assert "small-1/loop/0/run: reproduced to the bit, 13 of 13 comparisons" in said
    again = json.loads(json.dumps(mfbench.reproduce(record.run_key).summary()))
    assert answer["reproduced"] is True
    assert all(key.endswith("_seconds") for key in again if again[key] != answer[key])
    rewritten(record.path, train_rmse=0.5)
    status, answer, said = reproduce(record.run_key, "--strict")
    assert (status, answer["verdict"], answer["lines"]) == (1, "refused", [])
    assert said.splitlines()[-1].startswith("small-1/loop/0/run: not run, because --strict is given")
    status, answer, said = reproduce("small-1/loop/1/run")
    assert (status, answer) == (2, None)
    assert len(said.splitlines()) == 1
