"""The Markdown tables of ``dreamif evaluate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dreamif_model import paper
from dreamif_model.comparison import CLEAN, OWN_CLEAN, PairScores
from dreamif_model.metrics import METRICS

COLUMNS = paper.METRICS  # printed; the JSON file has every metric
Cells = dict[str, list[str]]  # label of a row: its figures


def condition_table(
    condition: str, results: Sequence[PairScores], labels: Mapping[str, str]
) -> str:
    """The table of one condition: a row for each label, ± the standard deviation between seeds."""
    lpips = ["LPIPS"] if any("LPIPS" in row for r in results for row in r.scores.values()) else []
    columns = [*COLUMNS, *lpips, *([OWN_CLEAN] if condition != CLEAN else [])]
    head = f"{condition}, {len(results)} pair{'s' if len(results) > 1 else ''}"
    return _markdown(head, _arrowed(columns), _rows(results, columns, labels))


def paper_table(
    number: int, pairs: str, results: Sequence[PairScores], labels: Mapping[str, str]
) -> str:
    """A table of the paper, first its printed rows, then those of ``results``.

    pairs: the set that its Table 1 is for.
    """
    table = paper.table(number, pairs)
    printed = {
        f"{method}, *paper*": [f"{figure:.3f}" for figure in figures]
        for method, figures in table.rows.items()
    }
    head = f"Table {number}: {table.title}"
    if number == 3:
        parts = [
            _rows([r for r in results if r.condition == name], ["LPIPS"], labels)
            for name in table.columns
        ]
        ours = {label: [part[label][0] for part in parts] for label in parts[0]}
        return _markdown(head, [f"{name} ↓" for name in table.columns], printed | ours)
    condition = paper.RANDOM if number == 2 else CLEAN
    ours = _rows([r for r in results if r.condition == condition], table.columns, labels)
    return _markdown(head, _arrowed(table.columns), printed | ours)


def _rows(
    results: Sequence[PairScores], columns: Sequence[str], labels: Mapping[str, str]
) -> Cells:
    """Means over the pairs; several methods of one label are seeds of one row."""
    groups: dict[str, list[list[float]]] = {}  # label: one list of means a seed
    for name in results[0].scores:
        means = [float(np.mean([r.scores[name][column] for r in results])) for column in columns]
        groups.setdefault(labels.get(name, name), []).append(means)
    return {
        label: [_cell(values) for values in zip(*seeds, strict=True)]
        for label, seeds in groups.items()
    }


def _cell(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.3f}"
    return f"{mean} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else mean


def _arrowed(columns: Sequence[str]) -> list[str]:
    arrows = [METRICS[column].arrow if column in METRICS else "↑" for column in columns]
    return [f"{column} {arrow}" for column, arrow in zip(columns, arrows, strict=True)]


def _markdown(title: str, columns: Sequence[str], rows: Cells) -> str:
    lines = [title, "", f"| method | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    lines += [f"| {label} | {' | '.join(cells)} |" for label, cells in rows.items()]
    return "\n".join(lines) + "\n"
