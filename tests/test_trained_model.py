"""Models as files: `mfbench.load_model`, and the same model through MLflow, in process and served."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from exported import artifact, artifacts
from processes import said_by, started
from record_factory import record, write
from refusals import refused
from servers import free_port
from waiting import wait_until

import mfbench
from mfbench.commands.find import find_run
from mfbench.core.errors import InputError, RecordError
from mfbench.core.files import write_model
from mfbench.matrix.factors import Factors, digest_of
from mfbench.models.trained import TrainedModel
from mfbench.runs.record_files import model_path, read_record, write_record
from mfbench.tracking.client import Tracker

# A user and an item that the training lacked: bob has a row of zeros, and so has item 30.
ARRAYS: dict[str, Any] = {
    "P": np.array([[1.0, 2.0], [0.0, 0.0], [3.0, 0.0]], dtype=np.float32),
    "Q": np.array([[1.0, 1.0], [2.0, 0.5], [0.0, 0.0]], dtype=np.float32),
    "user_bias": np.array([0.5, 0.0, 0.0], dtype=np.float32),
    "item_bias": np.array([0.25, 0.0, 0.0], dtype=np.float32),
    "mean": np.array(3.0),
    "user_ids": np.array(["ann", "bob", "cleo"]),
    "item_ids": np.array([10, 20, 30]),
}
USERS = ["ann", "ann", "cleo", "bob", "zoe", "ann", "cleo", "bob", "someone with a long name"]
ITEMS = [10, 20, 20, 10, 10, 30, 99, 30, -1]
PREDICTION = [3 + 0.5 + 0.25 + 3, 3 + 0.5 + 3, 3 + 6, 3.25, 3.25, 3.5, 3, 3, 3]
KNOWN = ["both", "both", "both", "item only", "item only", "user only", "user only", "neither", "neither"]


def saved(**changes: Any) -> Path:
    """A final run with this model in the current folder; the path of its record."""
    made = record(0, stage="final")
    arrays = {name: array for name, array in {**ARRAYS, **changes}.items() if array is not None}
    made.factors_digest = digest_of(arrays)
    path = write_record(made)
    write_model(model_path(path), arrays)
    return path


@pytest.mark.usefixtures("workplace")
def test_raw_ids_in_and_predictions_out_also_for_ids_that_are_not_known() -> None:
    model = mfbench.load_model(saved())
    answer = model.predict(USERS, ITEMS)
    assert answer.prediction.dtype == np.float64
    assert answer.prediction.tolist() == PREDICTION
    assert answer.known.tolist() == KNOWN
    assert model.predict(pd.Series(USERS), np.array(ITEMS)).prediction.tolist() == PREDICTION
    assert model.predict("ann", [10, 20]).prediction.tolist() == PREDICTION[:2]
    assert model.predict([], []).known.tolist() == []
    assert (model.mean, model.titles, model.user_ids.tolist()) == (3.0, None, ["ann", "bob", "cleo"])
    assert mfbench.load_model(saved(titles=np.array(["A", "B", "C"]))).titles is not None


@pytest.mark.usefixtures("workplace")
def test_a_pair_is_predicted_the_same_alone_and_among_many() -> None:
    rng = np.random.default_rng(0)
    n, m, K = 300, 200, 13
    given = {
        "P": rng.normal(size=(n, K)), "Q": rng.normal(size=(m, K)), "user_bias": rng.normal(size=n),
        "item_bias": rng.normal(size=m), "mean": np.array(3.6), "user_ids": np.arange(n) * 7, "item_ids": np.arange(m) * 3,
    }  # fmt: skip
    model = mfbench.load_model(saved(**given))
    users, items = rng.integers(0, n, 70_000), rng.integers(0, m, 70_000)
    many = model.predict(users * 7, items * 3).prediction
    factors = Factors.of(given)
    assert factors is not None
    assert np.array_equal(many, factors.predict(users.astype(np.int32), items.astype(np.int32)))
    for k in (0, 1, 69_999):
        assert model.predict(users[k] * 7, items[k] * 3).prediction[0] == many[k]
    by_hand = given["mean"] + given["user_bias"][users] + given["item_bias"][items]
    by_hand = by_hand + (given["P"][users] * given["Q"][items]).sum(axis=1)
    assert np.allclose(many, by_hand, rtol=1e-12)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("users", "items", "says"),
    [
        ([1, 2], [10, 20], "user ids: .* is not a list of text; give ids like 'ann'"),
        (["ann"], ["10"], "item ids: .* is not a list of whole numbers; give ids like 10"),
        (["ann"], [10.5], "item ids"),
        (["ann", None], [10, 20], "user ids"),
        ([["ann"]], [10], "user ids"),
        (["ann", "bob"], [10, 20, 30], "2 and 3 ids do not make pairs"),
    ],
)
def test_ids_of_another_kind_are_a_sentence(users: Any, items: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        mfbench.load_model(saved()).predict(users, items)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"Q": None}, "read its arrays P, item_bias, "),
        ({"Q": np.ones((3, 5))}, "not a factor model"),
        ({"user_ids": None}, "user_ids and item_ids do not fit"),
        ({"item_ids": np.array([10, 20])}, "do not fit"),
        ({"item_ids": np.array([20, 10, 30])}, "do not fit"),
        ({"item_ids": np.array([1.0, 2.0, 3.0])}, "do not fit"),
    ],
    ids=["own backend", "two K", "no ids", "too few", "not sorted", "floats"],
)
def test_a_foreign_file_is_a_sentence(changes: dict[str, Any], says: str) -> None:
    with refused(RecordError, says):
        mfbench.load_model(saved(**changes))


@pytest.mark.usefixtures("workplace")
def test_the_model_of_another_run_or_with_another_float_is_a_sentence() -> None:
    record_file = saved()
    for name in ("P", "item_bias", "mean"):
        write_model(model_path(record_file), {**ARRAYS, name: ARRAYS[name] + ARRAYS[name].dtype.type(1e-6)})
        with pytest.raises(RecordError, match="this file does not match its record"):
            mfbench.load_model(record_file)
    write_model(model_path(record_file), ARRAYS)
    assert mfbench.load_model(record_file).predict(USERS, ITEMS).prediction.tolist() == PREDICTION


@pytest.mark.usefixtures("workplace")
def test_a_damaged_file_is_a_sentence_wherever_it_is_damaged() -> None:
    record_file = saved()
    path = model_path(record_file)
    whole, digest = path.read_bytes(), read_record(record_file).factors_digest
    np.save("one.npy", np.ones(3))
    np.savez("pickled.npz", **{**ARRAYS, "P": np.array([object()])})
    others = [b"", b"not a model", Path("one.npy").read_bytes(), Path("pickled.npz").read_bytes(), whole[: len(whole) // 2]]
    for at in range(60, len(whole), 11):
        others.append(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
    refused = 0
    for content in others:
        path.write_bytes(content)
        try:
            found = TrainedModel.read(path, digest)
        except RecordError:
            refused += 1
        else:  # a byte of the zip that no array hangs on, as a time of day
            assert found.predict(USERS, ITEMS).prediction.tolist() == PREDICTION
    assert refused > len(others) // 2


@pytest.mark.usefixtures("workplace")
def test_a_run_that_has_no_model_and_a_run_that_is_not_there() -> None:
    write([record(0)])
    with pytest.raises(RecordError, match="trials keep no model"):
        mfbench.load_model(record(0).run_key)
    with pytest.raises(InputError, match="no record of this run"):
        mfbench.load_model(record(7).run_key)
    with pytest.raises(InputError, match="give a run key"):
        mfbench.load_model("nonesuch")
    with pytest.raises(RecordError, match="there is no such record"):
        mfbench.load_model("nonesuch.json")


# --- through MLflow --------------------------------------------------------------------------------------------------


def frame(users: Any, items: Any) -> pd.DataFrame:
    return pd.DataFrame({"user": users, "item": items})


@pytest.mark.usefixtures("stored")
def test_the_model_in_mlflow_answers_as_the_one_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    run_id = Tracker("little").export(read_record(saved()), None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').resolve()}")
    model = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
    answer = model.predict(frame(USERS, ITEMS).set_index(np.arange(9) + 5))
    assert answer["prediction"].tolist() == PREDICTION
    assert answer["known"].tolist() == KNOWN
    assert answer.index.tolist() == list(range(5, 14))
    assert model.predict(model.input_example)["known"].tolist() == ["both", "item only", "user only"]
    assert model.metadata.get_output_schema().input_names() == ["prediction", "known"]
    assert model.metadata.metadata == {"run_key": record(0, stage="final").run_key}
    with pytest.raises(mlflow.exceptions.MlflowException, match="Incompatible input types for column user"):
        model.predict(frame([1], [10]))


@pytest.mark.usefixtures("stored")
def test_the_model_in_mlflow_folds_in_the_users_whose_ratings_come_with_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    made = read_record(saved())
    run_id = Tracker("little").export(made, None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').resolve()}")
    served = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
    asked = frame(["zoe", "ann", "zoe", "eve", "zoe", "eve", "ann"], [10, 20, 20, 20, 30, 10, 77])
    asked["rating"] = [5.0, np.nan, np.nan, 1.5, 4.0, np.nan, 1.0]  # of ann there is only a rating of an unknown item
    answer = served.predict(asked.set_index(np.arange(7) + 5))
    model = mfbench.load_model(made.run_key)
    zoe = model.fold_in([10, 30], [5.0, 4.0], ["zoe"] * 2).predict(["zoe"] * 3, [10, 20, 30]).prediction
    eve = model.fold_in([20], [1.5], ["eve"]).predict(["eve"] * 2, [20, 10]).prediction
    ann = model.predict(["ann"] * 2, [20, 77])
    wanted = [zoe[0], ann.prediction[0], zoe[1], eve[0], zoe[2], eve[1], ann.prediction[1]]
    assert answer["prediction"].tolist() == pytest.approx(wanted, rel=1e-4)
    assert answer["known"].tolist() == ["both", "both", "both", "both", "user only", "both", "user only"]
    assert answer.index.tolist() == list(range(5, 12))
    unrated = served.predict(asked.assign(rating=np.nan))
    assert unrated["prediction"].tolist() == model.predict(asked["user"], asked["item"]).prediction.tolist()


@pytest.mark.usefixtures("stored")
def test_the_model_of_an_mlflow_run_is_the_one_that_was_exported_with_it(capfd: pytest.CaptureFixture[str]) -> None:
    path = saved()
    tracker, first = Tracker("little"), read_record(path)
    run_id, trial_id = tracker.export(first, None), tracker.export(record(1), None)
    saved(mean=np.array(4.0))  # the same run, made again with another result
    assert mfbench.load_model(first.run_key).mean == 4.0
    for _ in range(2):
        assert mfbench.load_model(run_id[:8]).predict(USERS, ITEMS).prediction.tolist() == PREDICTION
        shutil.rmtree("runs", ignore_errors=True)
    with pytest.raises(RecordError, match="trials keep no model"):
        mfbench.load_model(trial_id)
    assert "Downloading" not in capfd.readouterr().err


@pytest.mark.usefixtures("stored")
def test_the_folder_in_mlflow_needs_no_mfbench_and_holds_no_pickle() -> None:
    folder = artifact(Tracker("little").export(read_record(saved()), None), "model")
    assert {path.suffix for path in folder.iterdir()} == {"", ".npz", ".py", ".txt", ".yaml", ".json"}
    assert "mfbench" not in (folder / "requirements.txt").read_text()
    alone = (
        "import sys, runpy, types, numpy\n"
        "sys.modules['mfbench'] = None\n"  # an import of it fails
        "from mlflow.models import model\n"
        "runpy.run_path('predicting.py')\n"
        "served = model.__mlflow_model__\n"
        "served.load_context(types.SimpleNamespace(artifacts={'arrays': 'model.npz'}))\n"
        "import pandas\n"
        "print(served.predict(None, pandas.DataFrame({'user': ['zoe'], 'item': [10]})).iloc[0].to_dict())\n"
    )
    assert said_by(alone, cwd=folder) == "{'prediction': 3.25, 'known': 'item only'}\n"


@pytest.mark.usefixtures("stored")
def test_the_arrays_of_another_kind_of_model_go_to_mlflow_all_the_same() -> None:
    made = read_record(saved(Q=None))
    assert artifacts(Tracker("little").export(made, None), "model") == {"model/model.npz"}


def test_the_served_model_gives_over_http_what_the_python_call_gives(searched: Any) -> None:
    final = next(one for one in searched["finals"] if one["backend"] == "adam")
    model = mfbench.load_model(final["run_id"])
    users = [*model.user_ids.tolist()[:20], 10**6, *[5] * 3]
    items = [*model.item_ids.tolist()[-20:], 3, 10**7, 1, 2]
    wanted = model.predict(users, items)
    address = f"http://127.0.0.1:{(port := free_port())}"
    settings = {"MLFLOW_TRACKING_URI": f"sqlite:///{Path.cwd()}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    settings["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where mlflow finds its server
    words = ["models", "serve", "-m", f"runs:/{final['run_id']}/model", "--env-manager", "local", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with started("-m", "mlflow", *words, settings=settings, **quiet) as server:

        def answers() -> bool:
            assert server.poll() is None, "the server ended"
            try:
                urllib.request.urlopen(f"{address}/ping", timeout=5).close()
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return False
            return True

        wait_until(answers, 200)

        def answer_to(columns: list[str], data: list[Any]) -> list[dict[str, Any]]:
            asked = json.dumps({"dataframe_split": {"columns": columns, "data": data}}).encode()
            request = urllib.request.Request(f"{address}/invocations", asked, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                lines: list[dict[str, Any]] = json.load(answer)["predictions"]
            return lines

        lines = answer_to(["user", "item"], list(zip(users, items, strict=True)))
        one, two, three = model.item_ids[:3].tolist()
        of_new = answer_to(["user", "item", "rating"], [[10**6, one, 5], [10**6, two, 1.5], [10**6, three, None]])
    assert [line["prediction"] for line in lines] == wanted.prediction.tolist()
    assert [line["known"] for line in lines] == wanted.known.tolist()
    assert set(wanted.known) == {"both", "item only", "user only"}
    folded = model.fold_in([one, two], [5, 1.5]).predict(["new"], [three])
    assert of_new[2]["prediction"] == pytest.approx(folded.prediction[0], rel=1e-4)


def test_every_final_of_a_sweep_has_a_model_that_predicts_what_was_scored(searched: Any, shared: Path) -> None:
    for final in searched["finals"]:
        model = mfbench.load_model(final["run_key"])
        assert np.array_equal(mfbench.load_model(final["run_id"]).P, model.P)
        made = find_run(final["run_key"])
        assert made is not None
        with np.load(shared / "data/splits" / made.data.split_digest[:16] / "sealed/test.npz") as test:
            users, items, values = (test[name] for name in ("users", "items", "values"))
        answer = model.predict(model.user_ids[users], model.item_ids[items])
        assert np.isclose(np.sqrt(np.mean((values - answer.prediction) ** 2)), final["test_rmse"], rtol=1e-12)
        assert (answer.known == "both").mean() > 0.9
