import re
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.colors import to_hex
from processes import said_by
from record_factory import record, sweep_records, swept

from mfbench.report.curves import mae_curves, residual_picture, run_curves, trial_curves
from mfbench.report.search_pictures import alpha_beta_map, importance_bars, sweep_picture, trade_off_picture
from mfbench.report.style import save, save_page
from mfbench.runs.records import Record
from mfbench.tracking.contents import files, parent_files

PNG = b"\x89PNG\r\n\x1a\n"
SHARES = {"jax": {"alpha": 0.6, "K": 0.1, "beta": 0.3}, "adam": {"alpha": 1.0}}


def lines(axes) -> dict[str, Any]:
    return {line.get_label(): line for line in axes.lines if not str(line.get_label()).startswith("_")}


def places(points: Any) -> list[tuple[float, float]]:
    """The places of points that are one artist."""
    return [(x, y) for x, y in points.get_offsets().tolist()]


def marks(axes) -> list[tuple[float, float]]:
    return [place for points in axes.collections for place in places(points)]


def legend(figure) -> set[str]:
    return {text.get_text() for text in figure.legends[0].get_texts()}


# --- one run ---------------------------------------------------------------------------------------------------------


def test_one_record_shows_train_and_valid_and_the_best_epoch():
    made = record(2)
    (axes,) = run_curves(made).axes
    drawn = lines(axes)
    assert list(drawn["train"].get_ydata()) == made.scores.train_rmse
    assert list(drawn["valid"].get_ydata()) == made.scores.valid_rmse
    assert list(drawn["valid"].get_xdata()) == made.scores.epoch
    assert any(label.startswith(f"best epoch {made.best_epoch}") for label in drawn)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "RMSE")


def test_errors_are_drawn_by_rating_and_by_popularity_and_go_to_mlflow():
    told = {f"test_{what}_{group}": value for what, values in {
        "rmse": {"rating_10": 2.0, "rating_4.5": 1.0, "popularity_0": None, "popularity_1": 3.0, "popularity_5": 0.5},
        "bias": {"rating_10": -2.0, "rating_4.5": 0.5, "popularity_0": None, "popularity_1": 1.0, "popularity_5": 0.0},
    }.items() for group, value in values.items()}  # fmt: skip
    made = record(0, stage="final").model_copy(update={"evaluation": {**told, "test_rmse_activity_1": 9.0, "n_test": 3}})
    by_rating, by_popularity = residual_picture(made).axes
    assert [tick.get_text() for tick in by_rating.get_xticklabels()] == ["4.5", "10"]
    assert {name: list(line.get_ydata()) for name, line in lines(by_rating).items()} == {
        "RMSE": [1.0, 2.0], "mean error r̂ − r": [0.5, -2.0]
    }  # fmt: skip
    assert [tick.get_text() for tick in by_popularity.get_xticklabels()] == ["1, least", "5, most"]
    assert by_rating.get_ylabel() == "error on test, in units of the ratings"
    assert files(made)["residuals.png"].startswith(PNG)
    assert "residuals.png" not in files(record(0, stage="final"))


# --- a search --------------------------------------------------------------------------------------------------------


def test_each_backend_has_a_panel_with_all_its_trials_and_its_best():
    records = sweep_records()
    figure = trial_curves(records)
    assert len(figure.axes) == 2
    for axes, backend in zip(figure.axes, ("adam", "jax"), strict=True):
        trials = [r for r in records if r.stage == "trial" and r.backend == backend]
        assert len(axes.lines) == 2 * 2 + 1  # train and valid of the best, each with a halo, and the floor
        others: Any = axes.collections[0]
        assert len(others.get_segments()) == 2 * (len(trials) - 1)
        best = min((r for r in trials if r.outcome == "completed"), key=lambda r: r.valid_rmse)
        assert axes.get_title(loc="left").startswith(f"{backend} #{best.number}, the best: {best.valid_rmse:.4f}")
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("epoch", "RMSE")
    assert {"train", "valid"} <= legend(figure)


def test_the_errors_of_each_backends_best_on_train_and_valid_stand_beside_the_floors():
    records = sweep_records()
    figure = mae_curves(records)
    (axes,) = figure.axes
    best: dict[str, Record] = {}
    for r in records:
        if r.stage == "trial" and r.outcome == "completed" and r.valid_rmse < getattr(best.get(r.backend), "valid_rmse", 9):
            best[r.backend] = r
    drawn = {label.partition("   ")[0]: line for label, line in lines(axes).items()}
    assert drawn.keys() == {"adam on train", "adam on valid", "jax on train", "jax on valid", "mean on valid"}
    for backend, one in best.items():
        for part in ("train", "valid"):
            assert list(drawn[f"{backend} on {part}"].get_ydata()) == getattr(one.scores, f"{part}_mae")
    (floor,) = (r for r in records if r.stage == "floor")
    assert set(drawn["mean on valid"].get_ydata()) == {floor.valid_mae}
    assert drawn["mean on valid"].get_linestyle() == "-."
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "mean absolute error")
    assert len(figure.legends[0].get_texts()) == 5
    assert figure.get_suptitle() == "little: mean absolute error by epoch"


def test_a_backend_has_one_colour_in_all_pictures():
    between = {"adam": "adam", "jax": "numba", "mean": "mean"}  # the floor stands between the others, and has a trial too
    records = [r.model_copy(update={"backend": between[r.backend]}) for r in sweep_records()]
    floor = next(r for r in records if r.stage == "floor")
    records.append(floor.model_copy(update={"stage": "trial"}))
    trials = [r for r in records if r.stage == "trial"]
    entries: list[Any] = list(sweep_picture(records).legends[0].legend_handles)
    keys = {key.get_label(): key.get_color() for key in entries}
    curves = {label.split()[0]: line.get_color() for label, line in lines(mae_curves(records).axes[0]).items()}
    (axes,) = trade_off_picture(trials).axes
    drawn: list[Any] = list(axes.collections)
    dots = {own.get_label().split()[0]: to_hex(own.get_facecolor()[0]).upper() for own in drawn}
    for name in ("adam", "numba"):
        assert curves[name] == dots[name] == keys[name]


ALL = [trial_curves, mae_curves, sweep_picture, alpha_beta_map, trade_off_picture]


@pytest.mark.parametrize("draw", ALL)
def test_a_narrow_picture_has_the_same_panels_below_each_other(draw):
    records = [r for r in sweep_records() if draw is not trade_off_picture or r.stage == "trial"]
    wide, narrow = draw(records), draw(records, narrow=True)
    assert narrow.get_figwidth() < 5 < wide.get_figwidth()
    assert len(narrow.axes) == len(wide.axes)
    places = [axes.get_subplotspec() for axes in narrow.axes]
    assert all(place is None or place.is_first_col() for place in places)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("draw", ALL[:4])
def test_no_legend_is_wider_than_its_picture(draw, narrow):
    long = {f"hyper_{name}": 1234.5 for name in "abcdef"}
    figure = draw([r.model_copy(update={"hyper": {**r.hyper, **long}}) for r in sweep_records()], narrow=narrow)
    save(figure)  # which warns if no room is left for the panels
    (drawn,) = figure.legends
    box = drawn.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width


def test_a_sweep_has_a_panel_for_each_hyperparameter_and_a_mark_for_each_trial():
    records = sweep_records()
    figure = sweep_picture(records)
    assert [axes.get_xlabel() for axes in figure.axes] == ["K", "alpha", "beta"]
    assert figure.axes[1].get_xscale() == figure.axes[2].get_xscale() == "log"
    n_trials = sum(r.stage == "trial" for r in records)
    assert {len(marks(axes)) for axes in figure.axes} == {n_trials}
    assert {len(axes.lines) for axes in figure.axes} == {2}  # a ring around the best of each backend
    for axes in figure.axes:
        low, high = axes.get_xlim()
        assert all(low <= x <= high for x, _ in marks(axes))
    assert {"jax", "adam", "pruned", "diverged or failed"} <= legend(figure)


def test_the_map_puts_each_trial_at_its_alpha_and_beta():
    records = sweep_records()
    figure = alpha_beta_map(records)
    *panels, bar = figure.axes
    assert bar.get_ylabel() == "valid RMSE"
    for axes, backend in zip(panels, ("adam", "jax"), strict=True):
        assert axes.get_title(loc="left") == backend
        trials = {(r.alpha, r.beta): r for r in records if r.stage == "trial" and r.backend == backend}
        usable, diverged = list[Any](axes.collections)
        assert sorted(marks(axes)) == sorted(trials)
        assert {trials[at].outcome for at in places(diverged)} == {"diverged"}
        assert "diverged" not in {trials[at].outcome for at in places(usable)}
        sizes = dict(zip(places(usable), usable.get_sizes(), strict=True))
        assert [trials[at].K for at in sorted(sizes, key=sizes.__getitem__)] == sorted(trials[at].K for at in sizes)


def test_importance_is_a_bar_for_each_hyperparameter_that_a_backend_has():
    figure = importance_bars(SHARES)
    (axes,) = figure.axes
    bars: list[Any] = list(axes.patches)
    assert sorted(bar.get_width() for bar in bars) == [0.1, 0.3, 0.6, 1.0]  # adam has alpha alone
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["jax", "adam"]
    assert legend(figure) == {"K", "alpha", "beta"}


def test_the_page_names_each_trial_under_the_pointer_and_asks_for_nothing_from_elsewhere():
    records = sweep_records()
    page = save_page(sweep_picture(records), "a sweep").decode()
    root = ElementTree.fromstring(page[page.index("<svg") : page.index("</body>")])
    told = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    trial = next(r for r in records if r.stage == "trial")
    assert f"jax #0  K={trial.K} alpha={trial.alpha:.3g} beta={trial.beta:.3g}  valid RMSE {trial.valid_rmse:.4f}" in told
    assert len(told) == 3 * (sum(r.stage == "trial" for r in records) + 2)
    assert "xlink:href=" in page  # as an HTML page names it; another prefix would draw nothing
    assert not re.search(r"(src|href)=.(?!#)", page)
    assert len(page) < 200_000


def test_what_the_sweep_has_in_mlflow():
    names = {"learning_curves.png", "learning_curves.html", "sweep.png", "sweep.html", "alpha_beta.png"}
    assert names <= parent_files(swept(sweep_records())).keys()


# --- whatever there is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "records",
    [
        [record(0, outcome="failed")],
        [record(0, outcome="diverged"), record(1, outcome="failed")],
        [record(0, stage="final")],
        [record(0, stage="floor", backend="mean")],
        [record(0, epochs=1)],
        [record(k, backend=f"b{k}") for k in range(5)],
        [],
    ],
    ids=["failed", "none completed", "final", "floor", "one epoch", "five backends", "none"],
)
def test_whatever_the_records_hold_can_be_drawn(records):
    for picture in (trial_curves, sweep_picture, alpha_beta_map, mae_curves):
        assert save(picture(records)).startswith(PNG)
    for made in records:
        assert save(run_curves(made)).startswith(PNG)
    assert save(importance_bars({})).startswith(PNG)


def test_the_same_records_give_the_same_bytes_in_another_process():
    script = (
        "import sys, hashlib\n"
        "from record_factory import sweep_records\n"
        "from mfbench.report.curves import mae_curves, run_curves, trial_curves\n"
        "from mfbench.report.style import save, save_page\n"
        "from mfbench.report.search_pictures import alpha_beta_map, sweep_picture\n"
        "r = sweep_records()\n"
        "for figure in (trial_curves(r), run_curves(r[0]), sweep_picture(r), alpha_beta_map(r), mae_curves(r)):\n"
        "    print(hashlib.sha256(save(figure) + save_page(figure, '')).hexdigest())\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    said = {said_by(script, settings={"PYTHONHASHSEED": seed}) for seed in ("1", "2")}
    assert len(said) == 1
    assert said.pop().split()[-1] == "False"
    assert b"Software" not in save(run_curves(record(0)))
