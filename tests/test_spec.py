"""A spec is strict: what is wrong is said in one sentence that names the key."""

from pathlib import Path

import pytest
import yaml
from refusals import refused
from user_files import read_csv

from mfbench.core.errors import SpecError
from mfbench.spec import FloatRange, load_spec, run_study_key, study_key

ROOT = Path(__file__).parents[1]
# Not all that lies in experiments/ and results/: a user's own specs and reports may lie there too.
COMMITTED = [
    ROOT / f"experiments/{name}.yaml" for name in yaml.safe_load((ROOT / "dvc.yaml").read_text())["vars"][0]["experiments"]
]

GOOD = {
    "name": "tiny",
    "data": {"dataset": "planted-10k"},
    "split": {"kind": "random", "valid": 0.1, "test": 0.1, "seed": 7},
    "model": {"K": 4},
    "sweep": {
        "trials": 4,
        "backends": ["loop", "adam"],
        "space": {"K": {"int": [2, 8], "log": True}, "alpha": {"float": [0.001, 0.1], "log": True}},
        "spaces": {"adam": {"alpha": {"float": [0.0001, 0.01]}}},
    },
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("model.alfa=3", "model.alfa: unknown key; choose from backend, K, alpha"),
        ("nonsense=1", "nonsense: unknown key; choose from name, data, split, model, sweep"),
        ("split.tets=1", "split.tets: unknown key"),
        ("model.K=x", "model.K: input should be a valid integer"),
        ("model.K=0", "model.K: input should be greater than or equal to 1, not 0"),
        ("model.alpha=0", "model.alpha: input should be greater than 0"),
        ("model.alpha=.nan", "model.alpha:"),
        ("split.valid=0.95", "the fractions don't add up: valid 0.95, test 0.1"),
        ("split.train=0.5", "the fractions don't add up: train 0.5, valid 0.1, test 0.1"),
        ("split.kind=foo", "split: unknown kind 'foo'; choose from random, temporal, last"),
        ("split={valid: 0.1}", "split: the key kind is missing; choose from random, temporal, last"),
        ("model=numba", "model: expected a mapping with keys of its own, not 'numba'"),
        ("sweep=5", "sweep: expected a mapping with keys of its own, not 5"),
        ("split=random", "split: expected a mapping with keys of its own, not 'random'"),
        ("data=[ratings.csv]", "data: expected a mapping with keys of its own, not ['ratings.csv']"),
        ("sweep.space.K.int=[9, 3]", "sweep.space.K.int: the range [9, 3]"),
        ("sweep.space.alpha.float=[0, 1]", "with log: true needs a lower bound above 0"),
        ("sweep.space.alpha.flot=[0, 1]", "sweep.space.alpha.flot: unknown key; choose from int, float or choice, log"),
        ("sweep.space.alpha=0", "sweep.space.alpha: input should be greater than 0, not 0"),
        ("sweep.spaces.adam.K=1.5", "sweep.spaces.adam.K: input should be a valid integer"),
        ("sweep.backends=[loop, loop]", "lists a backend twice"),
        (
            "sweep.space.K=[4, 8]",
            "sweep.space.K: a list is no search space; write {int: [4, 8]} for a range or {choice: [4, 8]}",
        ),
        ("sweep.space.alpha=[1, 2]", "write {float: [1, 2]} for a range or {choice: [1, 2]}"),
        ("sweep.space.K=[4, 8, 16]", "sweep.space.K: a list is no search space; write {choice: [4, 8, 16]}"),
        ("sweep.space.K=[4]", "sweep.space.K: a list is no search space; write the value by itself"),
        ("sweep.space.K={float: [1, 4]}", "sweep.space.K: K cannot have a range of kind float; write it as in {int: [4, 64]}"),
        ("sweep.space.alpha={int: [1, 4]}", "sweep.space.alpha: alpha cannot have a range of kind int; write it as in"),
        ("sweep.space.init={float: [0, 1]}", "sweep.space.init: input should be greater than 0"),
        ("sweep.space.bias={choice: [true, 2]}", "sweep.space.bias: input should be a valid boolean"),
        ("sweep.space.bias={choice: [true, true]}", "must list at least 2 values, without duplicates"),
        (
            "sweep.space.epochs={int: [1, 4]}",
            "sweep.space.epochs: this key of model cannot be searched; those that can are K, alpha, beta",
        ),
        ("data.file=x.csv", "give exactly one of dataset, planted and file"),
        ("data.user=uid", "user: allowed only together with file"),
        ("name=a/b", "name: 'a/b' must start with a letter or digit"),
        ("model.init={}", "give exactly one of uniform: [lo, hi], normal: s and positive: c"),
        ("model.K", "write it as KEY=VALUE"),
        ("name.x=1", "name is a value without keys of its own"),
        ("model.K={", "is not valid YAML"),
        (f"model.K={'9' * 5000}", "is not valid YAML"),
        ("model.K=1000000000000", "model.K: input should be less than or equal to 2147483647"),
        (f"model.epochs={10**30}", "model.epochs: input should be less than or equal to 2147483647"),
        ("evaluation.k=[4294967296]", "evaluation.k.0: input should be less than or equal to 2147483647"),
        (f"data={{planted: {{users: {2**63}, items: 1, ratings: 1}}}}", "data.planted.users: input should be less than"),
        ("split={kind: tail, valid: 0.1, shuffle: 4294967296}", "split.shuffle: input should be less than 4294967296"),
        ("split={kind: kfold, folds: 1000000}", "1000000 is too many folds; give at most 10,000"),
        ("sweep.trials=1000000000", "sweep.trials: input should be less than or equal to 1000000"),
        (f"sweep.space.K.int=[2, {10**18}]", "beyond which floats skip integers"),
        ('data={file: "a\\0b"}', r"'a\x00b' contains a NUL character"),
        ('model.backend="a\\0b.py:Mine"', "contains a NUL character"),
    ],
)
def test_what_is_wrong_is_one_sentence(change: str, says: str) -> None:
    with refused(SpecError, says):
        load_spec(GOOD, [change])


@pytest.mark.parametrize(
    "name", ['"my/momentum.py:Momentum"', "my/momentum.py:Momentum", "'../my.own/m.py:M'", "package.own:M"]
)
def test_a_knob_of_a_users_own_backend_can_be_set_with_and_without_the_quotes_that_a_shell_removes(name: str) -> None:
    changes = [f"model.options.{name}.momentum=0.3", f"sweep.spaces.{name}.momentum={{float: [0.1, 0.9]}}"]
    spec = load_spec(GOOD, changes)
    bare = name.strip("'\"")
    assert spec.model.options[bare] == {"momentum": 0.3}
    assert spec.sweep.spaces[bare] == {"momentum": FloatRange(float=(0.1, 0.9))}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: [", "line 1: the spec is not valid YAML"),
        ("- 1", "the spec is not a YAML mapping"),
        ("name: x\n", "data: this key is missing; add it"),
        (f"name: {'1' * 5000}\n", "the spec cannot be read (Exceeds the limit"),
        (f"name: {'[' * 1000}\n", "the spec cannot be read"),
        ("name: a\0b\n", "special characters are not allowed"),
    ],
)
def test_a_file_that_is_no_spec(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with refused(SpecError, str(path), says):
        load_spec(path)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="the spec is not valid UTF-8"):
        load_spec(tmp_path / "bytes.yaml")


def test_a_space_of_its_own_replaces_range_by_range() -> None:
    sweep = load_spec(GOOD).sweep
    assert sweep is not None
    own, common = sweep.space_of("adam"), sweep.space_of("loop")
    assert own["K"] == common["K"]
    assert own["alpha"] == FloatRange(float=(0.0001, 0.01))
    assert common.keys() == {"K", "alpha"}


def test_a_value_in_the_place_of_a_range_is_that_backends_alone() -> None:
    sweep = load_spec(GOOD, ["sweep.spaces.adam.alpha=0.002", "sweep.space.beta=0.1", "sweep.spaces.adam.beta=0"]).sweep
    assert sweep is not None
    assert sweep.values_of("adam") == {"alpha": 0.002, "beta": 0}
    assert sweep.values_of("loop") == {"beta": 0.1}
    assert sweep.space_of("adam").keys() == {"K"}
    assert sweep.space_of("loop").keys() == {"K", "alpha"}


def test_the_study_key_moves_with_what_can_change_a_result_and_with_nothing_else() -> None:
    spec = load_spec(GOOD)
    same = [load_spec(GOOD, [change]) for change in ("sweep.trials=99", "sweep.backends=[adam]", "model.backend=loop")]
    other = [load_spec(GOOD, [change]) for change in ("model.epochs=9", "split.seed=8", "sweep.batch=2", "model.seed=1")]
    assert {study_key(one) for one in same} == {study_key(spec)}
    assert len({study_key(one) for one in [spec, *other]}) == 5
    assert run_study_key(load_spec(GOOD, ["sweep.batch=2"])) == run_study_key(spec)
    assert run_study_key(load_spec(GOOD, ["model.backend=loop"])) != run_study_key(spec)


def test_the_study_key_follows_the_content_of_a_file_not_its_path(tmp_path: Path) -> None:
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    a.write_text("user,item,rating\n1,1,1\n")
    b.write_text("user,item,rating\n1,1,1\n")
    tree = {**GOOD, "data": {"file": str(a)}}
    key = study_key(load_spec(tree))
    assert study_key(load_spec(tree, [f"data.file={b}"])) == key
    a.write_text("user,item,rating\n1,1,2\n")
    assert study_key(load_spec(tree)) != key


def test_the_committed_experiments_are_specs() -> None:
    assert len(COMMITTED) >= 10
    assert [load_spec(path).name for path in COMMITTED] == [path.stem for path in COMMITTED]


def test_the_committed_results_are_those_of_the_committed_specs() -> None:
    for path in COMMITTED:
        spec = load_spec(path)
        made = {line["run_key"].split("/")[0] for line in read_csv(ROOT / "results" / path.stem / "leaderboard.csv")}
        assert made == {study_key(spec) if spec.sweep else run_study_key(spec)}


def test_a_sampler_or_objective_is_another_study_but_the_default_by_name_is_not() -> None:
    spec = load_spec({**GOOD, "sweep": {}})
    same = load_spec(spec, ["sweep.sampler=tpe", "sweep.objectives=[valid_rmse]", "sweep.pruner=patience", "sweep.stop=9"])
    assert study_key(same) == study_key(spec)
    others = [
        "sweep.sampler=random", "sweep.pruner=hyperband", "sweep.objectives=[valid_rmse, K]", "sweep.first_trial=sampler",
        "model.patience=3",
    ]  # fmt: skip
    assert len({study_key(spec), *(study_key(load_spec(spec, [change])) for change in others)}) == 6
