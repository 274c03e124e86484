"""The result of a sweep in words: the Markdown descriptions of the sweep and its final runs in MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mfbench.core.inert import as_code, in_markdown, in_shell, sentence_in_markdown
from mfbench.report.leaderboard import markdown, rows
from mfbench.report.published import beside
from mfbench.report.style import shown
from mfbench.runs.records import Record
from mfbench.search.outcome import Swept


def descriptions(swept: Swept) -> dict[str, str]:
    """The description of each final and floor by run key, and that of the sweep by study key.

    Each ends with the warnings of the audit, which no metric shows.
    """
    board, oracle = _ranked(swept.finals), swept.oracle
    texts: dict[str, str] = {}
    for record in swept.finals:
        told = [_place(record, board), _how(record, swept.trials), _test(record, oracle), _gap(record), _again(record)]
        texts[record.run_key] = _page(told)
    if board:
        first = board[0]
        table = markdown(rows(board, swept.trials, run_ids={}), oracle).rstrip("\n")
        told = [_place(first, board), _test(first, oracle), table, _published(board), _again(first)]
        texts[first.study] = _page(told)
    lines = [f"- {sentence_in_markdown(sentence)}" for sentence in (swept.audit.warnings() if swept.audit else [])]
    listed = "\n".join(["**Warnings**", "", *lines]) if lines else None
    return {key: _page([text, listed]) for key, text in texts.items()}


def _ranked(finals: Sequence[Record]) -> list[Record]:
    """The best completed final or floor of each backend, best first by the objective of the sweep."""
    best: dict[str, Record] = {}
    completed = [record for record in finals if record.outcome == "completed" and record.judged is not None]
    for record in sorted(completed, key=lambda record: (record.cost, record.backend)):
        best.setdefault(record.backend, record)
    return list(best.values())


def _place(record: Record, board: Sequence[Record]) -> str:
    """Its rank and the differences to others, by the objective as on the leaderboard."""
    name = in_markdown(record.backend)
    if record.outcome != "completed":
        return f"**{name} has no usable model**: the run {record.outcome} ({in_markdown(record.reason or '')})."
    others = [other for other in board if other.backend != record.backend]
    if record not in board:
        return f"**A longer search of {name} found a better trial**; this run is no longer on the leaderboard."
    place = "first" if record is board[0] else f"number {board.index(record) + 1}"
    metric = "RMSE" if record.objective.name == "valid_rmse" else record.objective.title
    sentence = f"**{name} is {place} of {len(board)}** on the valid part: {metric} {record.judged:.4f}"
    rivals = {other.run_key: other for other in [*others[:1], *(other for other in others if other.stage == "floor")]}
    for rival in rivals.values():
        behind = record.cost - rival.cost
        named = f"the floor, {in_markdown(rival.backend)}" if rival.stage == "floor" else in_markdown(rival.backend)
        sentence += f", {abs(behind):.4f} {'worse' if behind > 0 else 'better'} than {named}"
    return sentence + "."


def _how(record: Record, trials: Mapping[str, Sequence[Record]]) -> str | None:
    given = [f"{name} {in_markdown(shown(value))}" for name, value in record.hyper.items()]
    if not given:
        return None
    epochs = f"{record.epochs} epoch{'s' if record.epochs > 1 else ''}"
    of = f" of {len(trials[record.backend])}" if trials.get(record.backend) else ""
    return f"Hyperparameters of trial #{record.best_trial}{of}: {', '.join(given)}. Trained on train and valid for {epochs}."


def _test(record: Record, oracle: Mapping[str, float] | None) -> str | None:
    if record.test_rmse is None:
        return None
    sentence = f"On the test part, opened after the search: RMSE {record.test_rmse:.4f}, MAE {record.test_mae:.4f}."
    if oracle:
        known = (f"{name.removeprefix('test_').upper()} {value:.4f}" for name, value in oracle.items())
        sentence += f" The best possible there: {', '.join(known)}."
    return sentence


def _gap(record: Record) -> str | None:
    return "; ".join(f"{sentence_in_markdown(gap.says)}." for gap in beside.gaps([record])) or None


def _published(board: Sequence[Record]) -> str | None:
    return beside.markdown(board).strip("\n") or None


def _again(record: Record) -> str:
    return f"Re-run it and compare bit for bit: {as_code(f'mfbench reproduce {in_shell(record.run_key)}')}"


def _page(parts: Sequence[str | None]) -> str:
    return "\n\n".join(part for part in parts if part)
