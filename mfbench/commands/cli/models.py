"""The commands that use a trained model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfbench.commands.cli import completion
from mfbench.commands.cli.terminal import AsJson, Trust, say, show
from mfbench.core.errors import InputError

if TYPE_CHECKING:
    from mfbench.models.recommender import Recommender, Scored

app = typer.Typer()

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run key, an MLflow run id, or the path of a record.", autocompletion=completion.models
    ),
]
Count = Annotated[int, typer.Option("-n", min=1, help="How many to show.")]


@app.command()
def recommend(
    run: Run,
    users: Annotated[
        list[str] | None, typer.Option("--user", metavar="ID", help="A user's id; repeatable. Default: all users.")
    ] = None,
    ratings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Recommend to a new user instead, who gave these ratings: CSV with item,rating."),
    ] = None,
    n: Count = 10,
    explain: Annotated[bool, typer.Option("--explain", help="Show which of the user's own ratings contribute most.")] = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Recommend unseen items with the highest predicted ratings."""
    from mfbench.models.recommender import SHARES

    recommender = _recommender(run, trust)
    if ratings is not None:
        from mfbench.commands.find import one_run
        from mfbench.commands.new_user import recommend_to

        if users or explain:
            raise InputError("recommend: --ratings is for a new user; leave out --user and --explain")
        items = recommend_to(recommender, ratings, one_run(run).spec.data, n)
        show(_table("the user of these ratings", items, "predicted"), as_json, {"items": [asdict(item) for item in items]})
        return
    found = recommender.recommend(recommender.typed("user", users) if users else recommender.users(), n)
    answers = []
    for user, items in found.items():
        reasons = recommender.explain(user, [item.id for item in items]) if explain else {}
        if not items:
            say(f"user {user} has rated every item in train and valid, so there is nothing to recommend", as_json)
        elif not as_json:
            say(_table(f"user {user}", items, "predicted"), False)
            for item in items if explain else []:
                said = ", ".join(f"{one.title} ({one.score:+.3f})" for one in reasons[item.id])
                say(f"  {item.title}: {said}", False)
        shown = [{**asdict(item), **({"because": list(map(asdict, reasons[item.id]))} if explain else {})} for item in items]
        answers.append({"user": user, "items": shown})
    if explain and not as_json:
        say(SHARES, False)
    show(None, as_json, {"users": answers, **({"because": SHARES} if explain else {})})


@app.command()
def evaluate(
    run: Run,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="E.g. ndcg_20 or mine.py:FUNCTION; repeatable. Default: the spec's."),
    ] = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Compute more metrics of a stored model, beside its record.

    A plain run is evaluated on valid, a final run on test; opening the test part is logged. `mfbench compare --metric` shows
    the values.
    """
    import mfbench
    from mfbench.core.tables import drawn

    found = mfbench.evaluate(run, metrics or (), trust)
    lines = [[name, "–" if value is None else f"{value:.6g}"] for name, value in found.values.items()]
    show(drawn(found.stored.run_key, ["metric", "value"], lines), as_json, found.summary())
    say(f"wrote {found.path}", as_json)


@app.command()
def similar(
    run: Run,
    user: Annotated[str | None, typer.Option(metavar="ID", help="Show users similar to this one.")] = None,
    item: Annotated[str | None, typer.Option(metavar="ID", help="Show items similar to this one.")] = None,
    n: Count = 10,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Show similar users or items, by cosine similarity of factors."""
    if (user is None) == (item is None):
        raise InputError("similar: give either --user ID or --item ID")
    recommender = _recommender(run, trust)
    if user is not None:
        (one,) = recommender.typed("user", [user])
        found = recommender.similar("user", one, n)
    else:
        (one,) = recommender.typed("item", [item or ""])
        found = recommender.similar("item", one, n)
    title = f"similar to user {one}" if user is not None else f"similar to {recommender.title(one)}"
    show(_table(title, found, "cosine"), as_json, {"of": one, "similar": [asdict(each) for each in found]})


@app.command()
def groups(
    run: Run,
    n: Annotated[int, typer.Option("-n", min=1, help="How many groups.")] = 8,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Cluster users by factors, with the items typical of each."""
    found = _recommender(run, trust).groups(n)
    for number, group in enumerate(found, 1):
        say(_table(f"group {number}: {len(group.users):,} users", group.items, "above average"), as_json)
    show(None, as_json, {"groups": [asdict(group) for group in found]})


@app.command()
def fill(
    run: Run,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file: .csv or .parquet, a row per cell; or .npz.")],
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Write the filled-in matrix: a prediction for every cell."""
    from mfbench.models.filled import check_format

    check_format(out)
    cells = _recommender(run, trust).fill(out)
    show(f"wrote {cells:,} cells to {out}", as_json, {"cells": cells, "out_path": str(out)})


def _recommender(run: str, trust: bool) -> Recommender:
    from mfbench.commands.load import recommender

    return recommender(run, trust)


def _table(title: str, items: list[Scored], score: str) -> object:
    from mfbench.core.tables import drawn

    lines = [[item.title, str(item.id), f"{item.score:.3f}", f"{item.ratings:,}"] for item in items]
    return drawn(title, ["title", "id", score, "ratings"], lines)
