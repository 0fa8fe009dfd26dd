"""Tables of figures for the terminal and for Markdown pages."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from fasttcm.evaluation.result import Figures, Result

__all__ = ["figures_table", "results_markdown", "results_table"]

COLUMNS = ("", "task", "precision", "recall", "hmean", "matched", "ground truth", "predicted")


def results_table(results: Mapping[str, Result], *, title: str = "") -> Table:
    """A terminal table in per cent: one detection and, where texts are compared, one end-to-end row per result.

    A result with a lexicon among others has no detection row: the lexicon removes predictions, so its detection
    figures mean nothing beside those without.
    """
    table = Table(title=title or None)
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if number < 2 else "right")
    rows = _rows(results)
    for number, row in enumerate(rows):
        table.add_row(*row, end_section=number + 1 == len(rows) or rows[number + 1][0] != row[0])
    return table


def figures_table(rows: Sequence[tuple[str, Figures]], *, title: str = "") -> Table:
    """A terminal table of named figures, in per cent."""
    table = Table(title=title or None)
    for column in (COLUMNS[0], *COLUMNS[2:]):
        table.add_column(column, justify="right" if column else "left")
    for name, figures in rows:
        table.add_row(name, *_cells(figures))
    return table


def results_markdown(results: Mapping[str, Result]) -> str:
    """The same table in Markdown, ending with a newline."""
    rules = [":--"] * 2 + ["--:"] * (len(COLUMNS) - 2)
    rows = [COLUMNS, rules, *([_escape(cell) for cell in row] for row in _rows(results))]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _rows(results: Mapping[str, Result]) -> list[list[str]]:
    """Cells of every row."""
    return [
        [name, task, *_cells(figures)]
        for name, result in results.items()
        for task, figures in (("detection", result.detection), ("end-to-end", result.end_to_end))
        if figures is not None and not (task == "detection" and result.lexicon and len(results) > 1)
    ]


def _cells(figures: Figures) -> list[str]:
    rates = (figures.precision, figures.recall, figures.hmean)
    counts = (figures.matched, figures.ground_truth, figures.predicted)
    return [f"{100 * rate:.2f}" for rate in rates] + [f"{count:.6g}" for count in counts]


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")
