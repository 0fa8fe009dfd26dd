"""One self-contained HTML page about a training run: scores, curves, and pictures side by side."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fasttcm.engine.html import (
    GalleryItem,
    color_key,
    figure_svg,
    gallery_html,
    page_html,
    paragraphs,
    style_axes,
    table_html,
)

__all__ = ["GalleryItem", "curves_svg", "write_page"]


def write_page(
    path: Path,
    *,
    title: str,
    lead: Sequence[str],
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    remark: Sequence[str],
    curves: str,
    key: Sequence[tuple[str, str]],
    gallery: Sequence[GalleryItem],
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        title: headline.
        lead: paragraphs below it, plain text.
        header: column names of the table of scores.
        rows: its rows, as texts.
        remark: paragraphs below the table.
        curves: an SVG picture, see :func:`curves_svg`.
        key: (CSS colour, meaning) of the colours in the gallery.
        gallery: pictures, embedded as JPEG.
    """
    sections = [
        ("Scores", table_html(header, rows) + paragraphs(remark)),
        ("Training", f'<div class="curves">{curves}</div>'),
        ("Pictures", color_key(key) + gallery_html(gallery)),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page_html(title, lead, sections), encoding="utf-8")


def curves_svg(train_csv: Path, eval_csv: Path, *, smooth: int = 25) -> str:
    """Loss terms and test figures over the iterations, as one SVG (matplotlib, extra ``eval``).

    Args:
        train_csv: columns iteration, lr, loss and the terms.
        eval_csv: columns iteration, dataset and the figures; a missing file leaves the right-hand plot empty.
        smooth: window of the moving average of the losses, in iterations.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    with open(train_csv, newline="") as file:
        rows = list(csv.DictReader(file))
    iterations = np.array([int(row["iteration"]) for row in rows])
    for name in [column for column in rows[0] if column.startswith("loss_")]:
        values = np.array([float(row[name]) for row in rows])
        window = min(smooth, len(values))
        mean = np.convolve(values, np.ones(window) / window, mode="valid")
        left.plot(iterations[window - 1 :], mean, lw=1.6, label=name.removeprefix("loss_"))
    left.set(title=f"losses (mean of {smooth} iterations)", xlabel="iteration", yscale="log")
    if eval_csv.is_file():
        with open(eval_csv, newline="") as file:
            rows = list(csv.DictReader(file))
        steps = [int(row["iteration"]) for row in rows]
        for column, label in (("detection/hmean", "detection hmean"), ("end_to_end/hmean", "end-to-end hmean")):
            right.plot(steps, [float(row[column]) for row in rows], "o-", lw=1.6, ms=4, label=label)
    right.set(title="held-out images", xlabel="iteration", ylim=(0, 1))
    for axes in (left, right):
        style_axes(axes)
        axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return figure_svg(figure)
