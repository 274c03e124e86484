"""The search audit: hand-made trials with a known answer for every item."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_factory import DATA, STUDY, altered, record

from mfbench.data.sealed import log_opening, openers
from mfbench.runs.records import Clocks, Outcome, Record
from mfbench.search.audit import Audit, audit
from mfbench.search.edges import Edge, edge_of
from mfbench.spec import FloatRange, IntRange, Sweep

pytestmark = pytest.mark.usefixtures("workplace")

SPACE = {"K": {"int": [4, 64]}, "alpha": {"float": [0.001, 0.1], "log": True}, "beta": {"float": [0.0, 0.5]}}


def trial(number: int, valid: float | None = 1.0, **given: Any) -> Record:
    """A trial in the middle of SPACE with that best valid RMSE; one without diverged."""
    outcome: Outcome = given.pop("outcome", "diverged" if valid is None else "completed")
    seconds = given.pop("seconds", 1.0)
    backend = given.pop("backend", "jax")
    changes = {
        "K": 32, "alpha": 0.01, "beta": 0.2, "valid_rmse": valid, "epochs": 10,
        "clocks": Clocks(setup_seconds=99.0, compile_seconds=seconds, train_seconds=seconds, evaluate_seconds=seconds),
        "spec": {"sweep": {"trials": 4, "backends": ["jax", "adam"], "space": SPACE}},
    }  # fmt: skip
    made = record(number, backend=backend, outcome=outcome)
    made = altered(made, **(changes | given))
    if outcome == "completed":
        made.scores.valid_rmse = [valid] * len(made.scores.epoch)
    return made


def trials(n: int, **given: Any) -> list[Record]:
    return [trial(number, **given) for number in range(n)]


def said(of: Audit, about: str) -> list[str]:
    return [sentence for sentence in of.sentences() if about in sentence]


def one_edge(name: str, value: float, given: IntRange | FloatRange) -> tuple[str, tuple[float, float] | None]:
    edge = edge_of(name, value, given)
    assert edge is not None
    return edge.end, edge.wider.bounds if edge.wider else None


# --- edges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "given", "expected"),
    [
        (0.045, FloatRange(float=(0.0005, 0.05), log=True), ("upper", (0.0005, 5.0))),  # 0.05 * (0.05 / 0.0005)
        (0.00055, FloatRange(float=(0.0005, 0.05), log=True), ("lower", (0.000005, 0.05))),
        (0.098, FloatRange(float=(0.02, 0.1)), ("upper", (0.02, 0.18))),  # 0.1 + (0.1 - 0.02)
        (0.105, FloatRange(float=(0.1, 0.16)), None),
        (0.102, FloatRange(float=(0.1, 0.16)), ("lower", (0.04, 0.16))),
        (0.03, FloatRange(float=(0.03, 0.5)), ("lower", (0.0, 0.5))),  # a penalty is never below 0
        (0.01, FloatRange(float=(0.0, 0.5)), ("lower", None)),
        (64, IntRange(int=(4, 64), log=True), ("upper", (4, 1000))),  # 64 * 16 = 1024, to two digits
        (4, IntRange(int=(4, 64), log=True), ("lower", (1, 64))),
        (1, IntRange(int=(1, 8)), ("lower", None)),
        (6, IntRange(int=(2, 6)), ("upper", (2, 10))),
        (3, IntRange(int=(2, 6)), None),
        (20, IntRange(int=(19, 20), log=True), ("upper", (19, 21))),
        (0.0102, FloatRange(float=(0.01, 1.0)), ("lower", (0.0, 1.0))),  # at the edge of the linear range
        (0.0202, FloatRange(float=(0.01, 1.0), log=True), None),  # and well inside the log one
        (1e200, FloatRange(float=(1e-200, 1e200), log=True), ("upper", None)),  # what lies beyond is no number
        (0.1, FloatRange(float=(0.1, math.nextafter(0.1, 1)), log=True), None),  # hardly a range
    ],
)
def test_an_edge_is_near_an_end_on_the_range_s_own_scale_and_the_next_range_lies_beyond(
    value: float, given: IntRange | FloatRange, expected: Any
) -> None:
    if expected is None:
        assert edge_of("x", value, given) is None
    else:
        end, wider = one_edge("x", value, given)
        assert (end, wider and pytest.approx(wider)) == expected


RANGES = st.one_of(
    st.builds(
        lambda lo, width, log: FloatRange(float=(lo, lo * width), log=log),
        st.floats(1e-9, 1e3), st.floats(1.001, 1e6), st.booleans(),
    ),
    st.builds(
        lambda lo, more, log: IntRange(int=(lo, lo + more), log=log),
        st.integers(1, 999), st.integers(1, 999), st.booleans(),
    ),
)  # fmt: skip


@given(given=RANGES, upper=st.booleans())
def test_the_next_range_holds_the_old_one_and_its_value_is_inside(given: IntRange | FloatRange, upper: bool) -> None:
    lo, hi = given.bounds
    edge = edge_of("x", hi if upper else lo, given)
    assert edge is not None
    assert edge.end == ("upper" if upper else "lower")
    if edge.wider:
        new_lo, new_hi = edge.wider.bounds
        assert (new_lo == lo and new_hi > hi) if upper else (new_lo < lo and new_hi == hi)
        assert edge.wider.log == given.log
        assert not re.search(r"nan|inf|e-|e\+", edge.sentence())
    else:
        assert lo == (1 if isinstance(given, IntRange) else 0)


def test_only_the_best_trial_s_values_count_and_the_sentence_can_be_pasted() -> None:
    found = audit([trial(0, 0.9, alpha=0.098), trial(1, 0.95, K=64)])
    (one,) = found.searched
    (edge,) = one.edges
    assert isinstance(edge, Edge)
    assert said(found, "is at the") == [
        "jax: the best alpha, 0.098, is at the upper bound of its range [0.001, 0.1]: "
        "try alpha: {float: [0.001, 10], log: true}"
    ]  # fmt: skip
    assert one.summary()["edges"] == [
        {"name": "alpha", "value": 0.098, "end": "upper", "range": (0.001, 0.1), "try": (0.001, 10.0)}
    ]


def test_a_backend_s_own_range_is_what_its_values_are_held_against() -> None:
    own = {"space": SPACE, "spaces": {"adam": {"alpha": {"float": [0.0001, 0.011], "log": True}}}}
    sweep = {"sweep": {"backends": ["jax", "adam"], **own}}
    found = audit([trial(0, backend=backend, spec=sweep) for backend in ("jax", "adam")])
    assert {one.backend: [edge.name for edge in one.edges] for one in found.searched} == {"adam": ["alpha"], "jax": []}


# --- how the trials ended --------------------------------------------------------------------------------------------


def test_outcomes_are_counted() -> None:
    outcomes: tuple[Outcome, ...] = ("completed", "pruned", "pruned", "diverged", "failed", "failed", "failed", "completed")
    (one,) = audit([trial(k, outcome=outcome) for k, outcome in enumerate(outcomes)]).searched
    told = one.summary()
    assert [told[name] for name in ("trials", "completed", "pruned", "diverged", "failed")] == [8, 2, 2, 1, 3]
    assert told["epochs"] == 80
    assert told["search_seconds"] == 24.0  # three clocks of a second; setting up is not the search's
    assert "3 of 8 trials failed; see `reason` in their records" in one.warnings()[-1]


def test_the_smallest_alpha_that_diverged_where_alpha_tells() -> None:
    alphas = [0.01, 0.02, 0.03, 0.05, 0.08]
    found = audit([trial(k, None if alpha > 0.04 else 1.0, alpha=alpha, beta=k / 20) for k, alpha in enumerate(alphas)])
    assert said(found, "diverged") == [
        "jax: 2 of 5 trials diverged, all with alpha at 0.05 or more, and no other trial was: "
        "lower the upper bound of alpha below 0.05"
    ]
    assert found.searched[0].summary()["divergence"] == {"name": "alpha", "least": 0.05, "spared": 0}


def test_of_one_trial_it_is_said_in_the_singular() -> None:
    alphas = [0.01, 0.05, 0.08, 0.02]
    found = audit([trial(k, None if k == 1 else 1.0 - k / 10, alpha=alpha) for k, alpha in enumerate(alphas)])
    assert found.sentences() == [
        "jax: 1 of 4 trials diverged, with alpha at 0.05 or more, as was 1 that did not diverge: "
        "lower the upper bound of alpha below 0.05",
        "jax: the last of 4 trials still improved the best result, from 0.8000 to 0.7000: "
        "more trials will probably find better ones, as with `--trials 8`",
    ]


def test_another_hyperparameter_where_it_tells_better_and_none_where_none_does() -> None:
    by_K = [trial(k, None if K > 40 else 1.0, K=K) for k, K in enumerate((8, 32, 50, 64))]
    assert said(audit(by_K), "diverged") == [
        "jax: 2 of 4 trials diverged, all with K at 50 or more, and no other trial was: lower the upper bound of K below 50"
    ]
    best_above = [
        trial(k, None if alpha == 0.04 else 1 - alpha, alpha=alpha) for k, alpha in enumerate((0.01, 0.02, 0.04, 0.05))
    ]
    assert said(audit(best_above), "diverged") == [  # a lower bound would leave out the best trial
        "jax: 1 of 4 trials diverged; no single hyperparameter explains the divergence"
    ]
    anywhere = [trial(k, None if k == 0 else 1.0) for k in range(4)]  # all at the same place, and only the first diverged
    assert said(audit(anywhere), "diverged") == [
        "jax: 1 of 4 trials diverged; no single hyperparameter explains the divergence"
    ]
    assert audit(anywhere).searched[0].divergence is None


def test_no_completed_trial_is_told_with_what_to_try() -> None:
    found = audit(trials(6, valid=None))
    assert found.sentences() == [
        "jax: 6 of 6 trials diverged and none completed: try alpha: {float: [0.00001, 0.1], log: true}"
    ]
    (one,) = found.searched
    assert (one.edges, one.importance, one.gain, one.after) == ([], None, None, None)
    assert one.more_trials() == "0 of 6 trials completed: too few to tell whether more would help"


def test_one_trial_says_nothing_but_its_numbers() -> None:
    found = audit(trials(1))
    assert found.sentences() == []
    assert found.searched[0].gain is None
    assert "1 of 1 trials completed" in found.markdown()
    assert "needs 20 completed" in found.markdown()


# --- importance ------------------------------------------------------------------------------------------------------


def valley(n: int) -> list[Record]:
    """Trials over the whole space whose value depends on alpha, a little on beta, and not at all on K."""
    spread = [(k * 0.618 % 1, k * 0.414 % 1, k * 0.732 % 1) for k in range(n)]
    return [
        trial(k, 0.9 + 4 * (a - 0.5) ** 2 + 0.2 * (b - 0.5) ** 2, alpha=0.001 * 100**a, beta=0.5 * b, K=4 + round(60 * c))
        for k, (a, b, c) in enumerate(spread)
    ]


def test_importance_finds_what_matters_and_is_the_same_each_time() -> None:
    (one,) = audit(valley(60)).searched
    assert one.importance is not None
    assert list(one.importance) == sorted(one.importance, key=one.importance.__getitem__, reverse=True)
    assert next(iter(one.importance)) == "alpha"
    assert one.importance["alpha"] > 0.6
    assert math.isclose(sum(one.importance.values()), 1)
    assert audit(valley(60)).importances() == {"jax": one.importance}


def test_importance_needs_trials_that_completed_and_leaves_out_what_was_not_searched() -> None:
    assert audit([*valley(19), *[trial(k, None) for k in range(19, 40)]]).searched[0].importance is None
    unsearched = [altered(made, K=None, spec={"sweep": {"space": SPACE}}) for made in valley(20)]
    (one,) = audit(unsearched).searched
    assert one.importance is not None
    assert one.importance.keys() == {"alpha", "beta"}


def test_a_backend_with_nothing_to_search_has_no_audit() -> None:
    floor = trial(0, backend="mean", K=None, alpha=None, beta=None)
    assert [one.backend for one in audit([floor, *trials(4)]).searched] == ["jax"]
    assert audit([floor]).sentences() == []
    assert audit([floor]).markdown().startswith(f"# Search audit of {STUDY}\n")


# --- gain ------------------------------------------------------------------------------------------------------------


def falling(values: list[float | None]) -> Audit:
    return audit([trial(k, value) for k, value in enumerate(values)])


def test_the_gain_of_the_last_quarter_is_the_best_before_it_against_the_best_of_all() -> None:
    still = falling([1.2, 0.9264, *[1.1] * 28, *[1.0] * 9, 0.9261])
    (one,) = still.searched
    assert (one.last, one.before, one.after) == (10, 0.9264, 0.9261)
    assert one.more_trials() == (
        "the last 10 of 40 trials improved the best result only from 0.9264 to 0.9261: more trials will hardly help"
    )
    assert still.sentences() == []
    gaining = falling([1.2, *[1.1] * 6, 0.9])
    assert gaining.sentences() == [
        "jax: the last 2 of 8 trials still improved the best result, from 1.1000 to 0.9000: more trials will probably find"
        " better ones, as with `--trials 16`"
    ]
    assert gaining.searched[0].gain == pytest.approx(0.2)


def test_few_trials_or_none_completed_before_are_said_so() -> None:
    assert falling([1.0] * 8).searched[0].more_trials() == (
        "the last 2 of 8 trials found nothing better than 1.0000, but 8 trials are too few to tell whether more would help"
    )
    assert falling([1.0] * 39 + [0.99996]).searched[0].more_trials() == (
        "the last 10 of 40 trials improved the best result, 1.0000, by less than 0.0001: more trials will hardly help"
    )
    assert falling([None, None, None, 0.9]).searched[0].more_trials() == (
        "the first trial that completed is the last of 4: more trials will probably find better ones, as with `--trials 8`"
    )
    assert falling([1.0, 0.5, 0.4]).searched[0].gain is None  # three trials have no quarter


def test_a_trial_that_was_pruned_or_diverged_is_no_gain() -> None:
    (one,) = audit([*trials(7), trial(7, 0.5, outcome="pruned")]).searched
    assert one.gain == 0


# --- budgets ---------------------------------------------------------------------------------------------------------


def test_the_same_budget_is_worth_no_sentence_and_another_time_is_information() -> None:
    assert audit([*trials(4), *trials(4, backend="adam", seconds=2.9)]).sentences() == []
    found = audit([*trials(4), *trials(4, backend="adam", seconds=8.0)])
    assert found.sentences() == ["same number of trials, but adam took 8.0 times as long as jax (96.00 s against 12.00 s)"]
    assert found.warnings() == []  # a clock may differ between two runs, so it is in no --json sentence


def test_other_numbers_of_trials_or_epochs_are_a_warning() -> None:
    assert said(audit([*trials(6), *trials(4, backend="adam")]), "different numbers") == [
        "the backends ran different numbers of trials (adam 4, jax 6), so their best scores are not comparable: "
        "resume with `--trials 6`, or make the grids equally large"
    ]
    uneven = [*trials(4), *trials(4, backend="adam", epochs=4)]
    assert said(audit(uneven, Sweep(pruner="median")), "epochs") == [
        "same number of trials, but different numbers of epochs (adam 16, jax 40), because trials that were pruned or "
        "diverged ended early: set `sweep.pruner: patience` to stop trials by their own curves alone"
    ]
    assert audit(uneven).warnings() == []  # each trial stopped by its own curve
    assert audit([*trials(6), *trials(4, backend="adam")], Sweep(stop=4)).warnings() == []
    assert audit([*trials(4), *trials(4, backend="adam", epochs=9)]).sentences() == []


# --- the test part ---------------------------------------------------------------------------------------------------


def test_other_studies_that_have_opened_the_same_test_part_are_told() -> None:
    digest = str(DATA["test_digest"])
    log_opening(STUDY, "a split", digest, "to see")
    assert audit(trials(2)).openings == []
    for study in ("little-11111111", "other-22222222", "other-22222222"):
        log_opening(study, "a split", digest, "to see")
    log_opening("third-33333333", "a split", "99" * 32, "to see")
    found = audit(trials(2))
    assert found.openings == ["little-11111111", "other-22222222"]
    assert found.warnings() == [
        f"test part {digest[:8]} has been opened by 2 other studies (little-11111111, other-22222222): "
        "repeated use of a test part makes its scores optimistic"
    ]
    assert "- other-22222222\n" in found.markdown()


def test_a_line_that_was_cut_short_hides_no_opening() -> None:
    log_opening("little-11111111", "a split", "ab" * 32, "to see")
    log = Path("runs/little-11111111/test-openings.jsonl")
    log.write_bytes(log.read_bytes()[:30])
    log_opening("little-11111111", "a split", "cd" * 32, "to see")
    assert openers("cd" * 32) == ["little-11111111"]
    assert openers(None) == []


# --- whatever the trials are -----------------------------------------------------------------------------------------

ANY_TRIAL = st.fixed_dictionaries(
    {
        "valid": st.one_of(st.none(), st.floats(0.1, 1e30)),
        "outcome": st.sampled_from(["completed", "diverged", "pruned", "failed"]),
        "backend": st.sampled_from(["jax", "adam"]),
        "K": st.integers(4, 64),
        "alpha": st.floats(0.001, 0.1),
        "beta": st.floats(0.0, 0.5),
        "epochs": st.integers(0, 10),
        "seconds": st.sampled_from([0.0, 1e-9, 1.0, 1e9]),
    }
)


@given(drawn=st.lists(ANY_TRIAL, min_size=1, max_size=30))
def test_no_sentence_has_a_number_that_is_none_and_the_summary_is_json(drawn: list[dict[str, Any]]) -> None:
    found = audit([trial(number, **given) for number, given in enumerate(drawn)])
    page = found.markdown()
    assert not re.search(r"\b(nan|inf|None)\b", page)
    assert all(sentence in page for sentence in found.sentences())
    json.dumps(found.summary(), allow_nan=False)
