"""Sweeps: a pure function of the spec, however they are run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from record_factory import rewritten
from sweeping import Listener, bits, swept
from user_files import write_backend, write_ratings

import mfbench
from mfbench.core.errors import WorkError
from mfbench.runs.record_files import read_record
from mfbench.runs.records import RunName
from mfbench.search import study
from mfbench.search.outcome import Swept, standing
from mfbench.search.sampling.finished import Finished
from mfbench.search.sampling.proposals import propose


@pytest.mark.usefixtures("served")
def test_where_nothing_has_a_range_each_backend_is_one_trial_with_its_own_values(small: dict[str, Any]) -> None:
    small["sweep"] |= {"backends": ["loop", "numba", "mean"], "space": {"K": 4}, "spaces": {"numba": {"alpha": 0.02, "K": 3}}}
    small["model"] |= {"alpha": 0.01, "beta": 0.1}
    found = swept(small)
    told = {name: [(one.K, one.alpha, one.beta) for one in trials] for name, trials in found.trials.items()}
    assert told == {"loop": [(4, 0.01, 0.1)], "numba": [(3, 0.02, 0.1)], "mean": [(None, None, None)]}
    assert {(one.backend, one.K, one.alpha) for one in found.finals} == {
        ("loop", 4, 0.01), ("numba", 3, 0.02), ("mean", None, None)
    }  # fmt: skip


@pytest.mark.usefixtures("served")
def test_the_final_run_has_the_best_trial_and_its_best_epoch(small: dict[str, Any]) -> None:
    result = swept(small)
    completed = [trial for trial in result.trials["loop"] if trial.outcome == "completed"]
    best = min(completed, key=lambda trial: trial.valid_rmse or 9)
    (final,) = result.finals
    assert (final.K, final.alpha, final.beta, final.epochs) == (best.K, best.alpha, best.beta, best.best_epoch)
    assert final.valid_rmse == best.valid_rmse == min(v for v in best.scores.valid_rmse if v is not None)
    assert final.test_rmse is not None
    assert all(trial.test_rmse is None for trial in completed)


@pytest.mark.usefixtures("served")
def test_test_is_opened_once_for_all_final_runs_after_all_trials(small: dict[str, Any]) -> None:
    changes = ("sweep.backends=[loop, mean]", "sweep.repeats=2")
    result = swept(small, *changes, workers=2)
    assert sum(record.test_rmse is not None for record in result.records) == 4
    (opening,) = [json.loads(line) for line in Path("runs", result.study, "test-openings.jsonl").read_text().splitlines()]
    assert opening["time"] >= max(trial.ended for trials in result.trials.values() for trial in trials)
    swept(small, *changes, "sweep.trials=9")
    assert len(Path("runs", result.study, "test-openings.jsonl").read_text().splitlines()) == 1


@pytest.mark.usefixtures("served")
def test_divergence_is_an_outcome_that_the_study_learns_from(small: dict[str, Any]) -> None:
    small["sweep"]["space"]["alpha"] = {"float": [0.005, 1.0], "log": True}
    result = swept(small, "sweep.trials=9")
    outcomes = {trial.outcome for trial in result.trials["loop"]}
    assert outcomes >= {"diverged", "completed"}
    diverged = next(trial for trial in result.trials["loop"] if trial.outcome == "diverged")
    assert Finished.of(diverged).value == float("inf")
    assert diverged.reason is not None
    assert "no longer a finite number" in diverged.reason


@pytest.mark.usefixtures("served")
def test_a_sweep_of_which_nothing_completes_says_why_and_what_to_try(small: dict[str, Any]) -> None:
    small["sweep"]["space"]["alpha"] = {"float": [10.0, 100.0], "log": True}
    advice = "loop: 3 of 3 trials diverged and none completed: try alpha: {float: [1, 100], log: true}"
    with pytest.raises(WorkError, match=r"no longer a finite number after epoch 1.*" + re.escape(advice)):
        swept(small, "sweep.trials=3")


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("evaluation", "says"),
    [
        (
            {"relevant": 6},
            [
                "evaluation.relevant: no rating of train and valid is 6 or more, so precision, recall, NDCG, MAP, MRR and"
                " hit rate are undefined; set it to 5, the highest rating, or less"
            ],
        ),
        ({"relevant": 5}, []),
        ({"relevant": 6, "k": []}, []),
    ],
    ids=["above all", "the highest", "no lists"],
)
def test_that_no_rating_is_relevant_is_said_by_sweep_and_run(
    small: dict[str, Any], evaluation: dict[str, Any], says: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_ratings((user, item, 1 + (user + item) % 5) for user in range(20) for item in range(10))
    small |= {"data": data, "evaluation": evaluation}
    swept(small, "sweep.trials=1", watcher=(listener := Listener()))
    assert [sentence for sentence in listener.said if "relevant" in sentence] == says
    result = mfbench.run(small, ["model.backend=loop"])
    assert [line for line in capsys.readouterr().err.splitlines() if "relevant" in line] == says
    assert (result.record.evaluation.get("valid_ndcg_5") is None) == (evaluation != {"relevant": 5})


@pytest.mark.usefixtures("served")
def test_the_floor_is_not_searched(small: dict[str, Any]) -> None:
    result = swept(small, "sweep.backends=[mean]")
    assert len(result.trials["mean"]) == 1
    (floor,) = result.finals
    assert (floor.stage, floor.K, floor.alpha, floor.beta) == ("floor", None, None, None)
    assert floor.test_rmse is not None
    assert result.oracle is not None
    assert floor.test_rmse > result.oracle["test_rmse"]


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_text(path.read_text()[:100]), "this record is damaged"),
        (lambda path: rewritten(path, valid_rmse=0.1), "this record was changed after it was written"),
    ],
    ids=["cut short", "changed by hand"],
)
def test_a_record_that_is_not_as_it_was_written_is_set_aside_and_its_trial_run_again(
    small: dict[str, Any], damage: Any, says: str
) -> None:
    before = swept(small)
    path = RunName(study=before.study, backend="loop", stage="trial", number=2).path
    damage(path)
    after = swept(small, watcher=(listener := Listener()))
    assert bits(after) == bits(before)
    (told,) = [sentence for sentence in listener.said if f"trial-0002.json: {says}" in sentence]
    assert told.endswith("; renamed it to trial-0002.aside and training the run again")
    assert "delete it" not in told
    assert path.with_suffix(".aside").exists()


def trial_of(result: Swept, number: int) -> RunName:
    return RunName(study=result.study, backend="loop", stage="trial", number=number)


def set_aside(listener: Listener) -> list[str]:
    """What was said of records that are set aside."""
    return [sentence for sentence in listener.said if "renamed it" in sentence]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batches of which the proposals are asked for."""
    batches: list[int] = []

    def ask(spec: Any, space: Any, batch: int, *more: Any, **named: Any) -> Any:
        batches.append(batch)
        return propose(spec, space, batch, *more, **named)

    monkeypatch.setattr(study, "propose", ask)
    return batches


@pytest.mark.usefixtures("served")
def test_only_a_batch_that_is_not_whole_is_proposed_again(small: dict[str, Any], asked: list[int]) -> None:
    before = swept(small, "sweep.trials=9")
    assert asked == [0, 1, 2]
    assert len({trial.proposal for trial in before.trials["loop"]}) == 9
    asked.clear()
    assert bits(swept(small, "sweep.trials=9")) == bits(before)
    assert asked == []
    trial_of(before, 4).path.unlink()
    assert bits(swept(small, "sweep.trials=9")) == bits(before)
    assert asked == [1]


@pytest.mark.usefixtures("served")
def test_with_another_version_of_what_proposes_all_is_proposed_again(
    small: dict[str, Any], asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = swept(small)
    asked.clear()
    monkeypatch.setattr(study, "proposers", lambda: ["another version"])
    swept(small, watcher=(listener := Listener()))
    assert asked == [0, 1]
    assert set_aside(listener) == []
    assert read_record(trial_of(before, 0).path) == before.trials["loop"][0]


@pytest.mark.usefixtures("served")
def test_a_record_that_its_search_did_not_propose_is_set_aside(small: dict[str, Any], asked: list[int]) -> None:
    """Though the record itself is whole, as its seal shows."""
    before = swept(small, "sweep.trials=9")
    asked.clear()
    third, fourth = (trial_of(before, number).path for number in (3, 4))
    rewritten(third, sealed=True, hyper=before.trials["loop"][3].hyper | {"alpha": 0.01})
    after = swept(small, "sweep.trials=9", watcher=(listener := Listener()))
    assert bits(after) == bits(before)
    assert asked == [1]
    (said,) = set_aside(listener)
    assert "trial-0003.json: the hyperparameters of this run differ from what the search now proposes" in said

    fourth.write_bytes(third.read_bytes())
    after = swept(small, "sweep.trials=9", watcher=(listener := Listener()))
    assert bits(after) == bits(before)
    (said,) = set_aside(listener)
    assert f"trial-0004.json: this is the record of {before.study}/loop/3/trial; renamed it" in said

    other = swept(small, "sweep.trials=9", "model.epochs=4")
    assert other.trials["loop"][0].hyper == before.trials["loop"][0].hyper
    trial_of(before, 0).path.write_bytes(trial_of(other, 0).path.read_bytes())
    after = swept(small, "sweep.trials=9", watcher=(listener := Listener()))
    assert bits(after) == bits(before)
    assert f"trial-0000.json: this is the record of {other.study}/loop/0/trial; renamed it" in set_aside(listener)[0]


@pytest.mark.usefixtures("served")
def test_a_trial_whose_score_was_changed_leads_to_other_proposals(small: dict[str, Any], asked: list[int]) -> None:
    small["sweep"] |= {"batch": 10, "trials": 24}
    before = swept(small, "sweep.pruner=none")
    asked.clear()
    worst = max(before.trials["loop"][:10], key=lambda trial: trial.valid_rmse or 0)
    scores = worst.scores.model_dump() | {"valid_rmse": [0.001] * len(worst.scores.epoch)}
    rewritten(worst.path, sealed=True, scores=scores)
    swept(small, "sweep.pruner=none", watcher=(listener := Listener()))
    assert asked == [1, 2]
    assert any("differ from what the search now proposes" in sentence for sentence in set_aside(listener))


@pytest.mark.usefixtures("served")
def test_records_of_an_earlier_version_are_proposed_again_and_go_on(small: dict[str, Any], asked: list[int]) -> None:
    before = swept(small, "sweep.trials=6")
    for trial in before.trials["loop"]:
        rewritten(trial.path, sealed=True, proposal=None)
    asked.clear()
    longer = swept(small, "sweep.trials=9", watcher=(listener := Listener()))
    assert asked == [0, 1, 2]
    assert set_aside(listener) == []
    assert [trial.hyper for trial in longer.trials["loop"][:6]] == [trial.hyper for trial in before.trials["loop"]]
    assert [trial.proposal is None for trial in longer.trials["loop"]] == [True] * 6 + [False] * 3


@pytest.mark.usefixtures("workplace")
def test_a_backend_that_breaks_fails_its_trial_and_not_the_sweep(small: dict[str, Any]) -> None:
    mine = write_backend("if hyper.K < 4: raise ZeroDivisionError('too small')")
    result = swept(small, f"sweep.backends=['{mine}']", "sweep.trials=9")
    failed = [trial for trial in result.trials[mine] if trial.outcome == "failed"]
    assert failed
    assert all(trial.reason == "ZeroDivisionError: too small (mine.py, line 7)" for trial in failed)
    assert result.finals[0].outcome == "completed"


@pytest.mark.usefixtures("workplace")
def test_a_record_of_other_code_data_or_a_failure_does_not_stand_for_the_run(small: dict[str, Any]) -> None:
    in_the_final_run = "if len(train) > 1400: raise ZeroDivisionError('too many')"
    small["sweep"]["backends"] = [write_backend(in_the_final_run)]
    broken = swept(small)
    assert broken.failures == [
        "mine.py:Mine has no final run: 1 of 1 did not complete, mostly: ZeroDivisionError: too many (mine.py, line 7)"
    ]
    write_backend(in_the_final_run.replace("> 1400", "> 9999"))
    mended = swept(small, watcher=(listener := Listener()))
    assert mended.failures == []
    assert mended.finals[0].test_rmse is not None
    changed = [sentence for sentence in listener.said if "changed" in sentence]
    assert changed == [
        f"mine.py:Mine has changed since it was last trained; its runs in runs/{mended.study}/mine.py_Mine are renamed to"
        " *.aside and trained again"
    ]
    assert sum("this run failed (ZeroDivisionError" in sentence for sentence in listener.said) == 1


@pytest.mark.usefixtures("served")
def test_lists_of_another_length_are_a_matter_of_the_finals_alone(small: dict[str, Any]) -> None:
    before = swept(small, "sweep.trials=2")
    after = swept(small, "sweep.trials=2", "evaluation.k=[7]")
    assert after.study == before.study
    assert after.trials == before.trials
    assert not any(trial.evaluation for trial in after.trials["loop"])
    (old,), (new,) = before.finals, after.finals
    assert {"test_map_5", "test_map_10"} <= old.evaluation.keys()
    assert "test_map_7" in new.evaluation
    assert (new.test_rmse, new.factors_digest) == (old.test_rmse, old.factors_digest)
    assert new.result != old.result


@pytest.mark.usefixtures("served")
def test_a_new_study_says_in_which_keys_it_differs_from_the_last(small: dict[str, Any]) -> None:
    swept(small, "sweep.trials=1")
    swept(small, "model.epochs=2", "sweep.trials=1", watcher=(listener := Listener()))
    _, said, _, worn = listener.said
    assert said.endswith("in model.epochs")
    assert "has been opened by 1 other study" in worn


@pytest.mark.usefixtures("served")
def test_the_final_of_the_longest_search_stands_but_not_that_of_other_code(small: dict[str, Any]) -> None:
    small["sweep"]["backends"] = [write_backend("")]
    longer = swept(small, "sweep.trials=6").finals[0]
    shorter = swept(small, "sweep.trials=1").finals[0]
    assert standing([longer, shorter]) == standing([shorter, longer]) == [longer]
    small["sweep"]["backends"] = [
        write_backend("import dataclasses\nhyper = dataclasses.replace(hyper, alpha=hyper.alpha / 100)")
    ]
    other = swept(small, "sweep.trials=6").finals[0]
    assert other.valid_rmse > longer.valid_rmse
    assert standing([longer, other]) == [other]


@pytest.mark.usefixtures("served")
def test_records_keep_every_number_to_the_last_bit(small: dict[str, Any]) -> None:
    for record in swept(small, "sweep.trials=1").records:
        assert read_record(record.path).model_dump() == record.model_dump()
