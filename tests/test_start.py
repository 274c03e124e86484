"""`mfbench new NAME --data FILE`: a spec whose ranges suit the file, and which names how the file is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from processes import last_line

import mfbench
from mfbench.commands.start.ranges import Ranges
from mfbench.data.catalogue import dataset_named, load
from mfbench.data.dataset import make_dataset
from mfbench.spec import Spec, load_spec, study_key

PLANTED = "planted-10k"
JESTER = "1,-7.5" + ",99" * 11 + "\n1" + ",99" * 11 + ",99.5\n"


def stretched(low: float, high: float) -> str:
    """The ratings of planted-10k, 0.5 to 5, stretched to another scale, as lines of user, item and rating."""
    data = dataset_named(PLANTED)
    r = data.ratings
    values = low + (r.values.astype(float) - 0.5) / 4.5 * (high - low)
    return "".join(f"{u}\t{i}\t{v}\n" for u, i, v in zip(data.user_ids[r.users], data.item_ids[r.items], values, strict=True))


def written(command: Any, *words: str) -> Spec:
    status, out, err = command("new", "mine", *words)
    assert status == 0, err
    assert "mfbench sweep mine.yaml\n" in out
    assert "mfbench report mine.yaml\n" in out
    return load_spec("mine.yaml")


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("scale", [(1, 5), (-10, 10), (0, 100)])
def test_the_first_trials_do_not_diverge_on_any_scale(command: Any, scale: tuple[int, int]) -> None:
    Path("mine.tsv").write_text(stretched(*scale))
    written(command, "--data", "mine.tsv")
    changes = ["sweep.backends=[numba,als]", "model.epochs=30"]
    swept = mfbench.sweep("mine.yaml", trials=12, changes=changes).swept
    s = load(load_spec("mine.yaml").data).ratings.values.std()
    for backend, trials in swept.trials.items():
        best = min(trial.valid_rmse for trial in trials if trial.valid_rmse is not None)
        assert sum(trial.outcome == "diverged" for trial in trials) <= 1, backend
        assert best / s < 0.9, (backend, "the ratings' own deviation is 1, the best possible error 0.80")


@pytest.mark.usefixtures("workplace")
def test_on_1_to_5_the_ranges_are_about_those_of_the_quickstart(command: Any) -> None:
    assert command("new", "quick")[0] == 0
    Path("mine.tsv").write_text(stretched(1, 5))
    quick, mine = load_spec("quick.yaml").sweep, written(command, "--data", "mine.tsv").sweep
    assert quick is not None
    assert mine is not None
    for name in ("K", "alpha", "beta"):
        given_, made = (getattr(one.space_of("numba")[name], "bounds") for one in (quick, mine))  # noqa: B009
        assert np.abs(np.log(np.array(made) / given_)).max() <= np.log(2.1), name


@given(st.floats(-2, 2))
def test_alpha_and_beta_go_with_the_scale(power: float) -> None:
    factor = 10**power  # each bound is rounded to two digits, which moves it by at most 5 %
    ids = np.arange(20)

    def of(values: Any) -> Ranges:
        return Ranges.of(make_dataset("x", ids, ids % 4, values, where=str))

    unit, scaled = of(np.arange(20.0)), of(np.arange(20.0) * factor)
    assert np.allclose(scaled.alpha, np.array(unit.alpha) / factor, rtol=0.11)
    assert np.allclose(scaled.beta, np.array(unit.beta) * factor, rtol=0.11)
    assert scaled.init == pytest.approx(unit.init * factor**0.5, rel=0.11)
    assert scaled.K == unit.K == (2, 4)
    assert of(np.ones(20)).s == 1, "all ratings equal"


@pytest.mark.parametrize(("users", "top"), [(4_000, 0.03), (6_000, 0.01)])
def test_where_items_have_thousands_of_ratings_each_the_step_sizes_end_earlier(users: int, top: float) -> None:
    pairs = np.arange(2 * users)
    ranges = Ranges.of(make_dataset("x", pairs // 2, pairs % 2, np.arange(2.0 * users), where=str))
    assert ranges.alpha == pytest.approx((0.001 / ranges.s, top / ranges.s), rel=0.06)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("content", "words", "data"),
    [
        ("1\t2\t3\t881250949\n1\t3\t4\t881250950\n", [], {"header": False, "timestamp": 3}),
        ("1\t2\t3\t7\n1\t3\t4\t8\n", [], {"header": False}),
        ("userId,movieId,rating,timestamp\n1,2,3,881250949\n1,3,4,9\n", [], {"user": "userId", "item": "movieId"}),
        ("ISBN;Book-Rating;User-ID\na;2;3\nb;3;3\n", [], {"user": "User-ID", "item": "ISBN", "rating": "Book-Rating"}),
        ("who,item,rating\na,2,3\nb,2,1\n", ["data.user=who"], {"user": "who"}),
        ("1 1 2\n2 1 3\n1 1 4\n", [], {"header": False, "duplicates": "last"}),
        ("1 1 2\n2 1 3\n1 1 4\n", ["data.duplicates=mean"], {"header": False, "duplicates": "mean"}),
        ("2,5,99\n1,99,4\n", ["data.header=false", "data.wide={missing: 99, skip: 1}"], {"header": False}),
        (JESTER, [], {"header": False, "wide": {"missing": 99, "skip": 1}}),
        ('{"user": 1, "item": 2, "rating": 3}\n{"user": 1, "item": 3, "rating": 4}\n', [], {}),
    ],
)
def test_how_a_file_is_read(command: Any, content: str, words: list[str], data: dict[str, Any]) -> None:
    Path("mine.txt").write_text(content)
    spec = written(command, "--data", "mine.txt", *(word for one in words for word in ("--set", one)))
    said = spec.data.model_dump(exclude_unset=True)
    assert {**said, **data, "file": "mine.txt"} == said
    assert len(load(spec.data).ratings) == 2


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("content", "words", "says"),
    [
        ("a,b,rating\n1,2,3\n", [], ["which column has the user", "a, b, rating", "--set data.user="]),
        ("1," * 20 + "1\n", [], ["looks like a matrix", "21 columns", "data.wide="]),
        ("1 2 x\n1 3 4\n", [], ["line 1", "'x'"]),
        ("", [], ["empty"]),
        ("1 2 3\n", ["data.rating=9"], ["data.rating is column 9"]),
        ("1 2 3\n", ["data.ratings=2"], ["data.ratings: unknown key"]),
    ],
)
def test_what_cannot_be_told_is_asked_and_nothing_is_written(
    command: Any, content: str, words: list[str], says: list[str]
) -> None:
    Path("mine.txt").write_text(content)
    status, _, err = command("new", "mine", "--data", "mine.txt", *(word for one in words for word in ("--set", one)))
    assert (status, len(err.splitlines())) == (2, 1)
    assert all(word in err for word in says), err
    assert [path.name for path in Path().iterdir()] == ["mine.txt"]


@pytest.mark.usefixtures("workplace")
def test_the_spec_tells_what_was_read_and_points_to_a_schema_that_is_there(command: Any) -> None:
    Path("mine.txt").write_text("1 1 -7.5\n2 1 10\n2 2 -10\n")
    answered = command("new", "mine", "--data", "mine.txt", "--json")[1]
    assert last_line(answered) == {"name": "mine", "spec_path": "mine.yaml"}
    text = Path("mine.yaml").read_text()
    first, second = text.splitlines()[:2]
    assert second == "# mine.txt: 3 ratings by 2 users of 2 items, from -10 to 10, no duplicates, no timestamps."
    assert json.loads(Path(first.removeprefix("# yaml-language-server: $schema=")).read_text())["title"]
    assert load_spec("mine.yaml").evaluation.relevant == 5
    assert all(len(line) <= 140 for line in text.splitlines())
    Path("mfbench.schema.json").write_text("mine")
    status, _, err = command("new", "other", "--data", "mine.txt")
    assert status == 2
    assert "mfbench.schema.json" in err
    assert not Path("other.yaml").exists()


@pytest.mark.usefixtures("workplace")
def test_the_plain_quickstart_needs_no_file(command: Any) -> None:
    assert command("new", "quick")[0] == 0
    assert [path.name for path in Path().iterdir()] == ["quick.yaml"]
    tree = yaml.safe_load(Path("quick.yaml").read_text())
    assert study_key(load_spec({**tree, "name": "quickstart"})) == "quickstart-0ffb70cb"
    status, _, err = command("new", "another", "--set", "data.user=u")
    assert status == 2
    assert "--data" in err
