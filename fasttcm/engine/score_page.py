"""One self-contained HTML page that shows why a set scored as it did: figures, curves, and every mistake drawn."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasttcm.engine.chart import Line, unit_chart
from fasttcm.engine.html import color_key, gallery_html, page_html, paragraphs, table_html
from fasttcm.engine.mistakes import (
    COLORS,
    Mistakes,
    count_mistakes,
    draw_image,
)
from fasttcm.evaluation import Figures, Result
from fasttcm.evaluation.curve import CurvePoint

__all__ = ["DEFAULT_PICTURES", "ScoredSet", "write_score_page"]

DEFAULT_PICTURES = 60
"""Pictures on a page; each takes about a tenth of a megabyte."""

CONFUSIONS = 15
"""Rows of the table of misread words."""

DETECTION_COLOR, READING_COLOR, THIRD_COLOR = "#0b7a75", "#c2410c", "#5b4fc4"

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class ScoredSet:
    """What the page is about.

    Attributes:
        results: named results, the one without lexicon first; the last one's images are drawn.
        headline: (name, figures) rows of the table of scores.
        ground_truth: image entries by id (as text), as scored.
        predictions: the same of the predictions; images may be missing.
        curve: figures over the confidence of the last result; empty when the protocol has none.
    """

    results: Mapping[str, Result]
    headline: Sequence[tuple[str, Figures]]
    ground_truth: Mapping[str, Entry]
    predictions: Mapping[str, Entry]
    curve: Sequence[CurvePoint] = ()


def write_score_page(
    path: Path,
    scored: ScoredSet,
    *,
    title: str,
    lead: Sequence[str],
    image_folder: Path | None = None,
    pictures: int = DEFAULT_PICTURES,
) -> list[str]:
    """Write the page.

    Args:
        path: the HTML file; its folder is made.
        scored: results and what they were made from.
        title: headline.
        lead: paragraphs below it, plain text.
        image_folder: where the image files are; ``None`` or a file that is not there: a blank sheet of the same size.
        pictures: how many images are shown, those with the most mistakes first.

    Returns:
        One line for every image file that is there and cannot be read.
    """
    result = list(scored.results.values())[-1]
    reading = result.end_to_end is not None
    mistakes = {
        key: count_mistakes(image, scored.ground_truth[key], scored.predictions.get(key, {}))
        for key, image in result.images.items()
    }
    order = sorted(mistakes, key=lambda key: -mistakes[key].total)  # stable: ties in file order
    shown = order[:pictures]
    problems: list[str] = []
    items = [draw_image(key, mistakes[key], scored.ground_truth[key], image_folder, problems) for key in shown]
    sections = [("Scores", _scores(scored))]
    if scored.curve:
        sections.append(("Confidence", _curves(scored.curve)))
    sections.append(("Mistakes", _summary(mistakes, reading=reading)))
    note = f"{len(shown)} of {len(order)} images, those with the most mistakes first. Click a picture to enlarge it."
    gallery = (
        paragraphs([note])
        + color_key([pair for kind, pair in COLORS.items() if reading or kind != "misread"])
        + gallery_html(items)
    )
    sections.append(("Images", gallery))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page_html(title, lead, sections), encoding="utf-8")
    return problems


def _scores(scored: ScoredSet) -> str:
    """Figures in per cent with their counts."""
    header = ("", "precision", "recall", "hmean", "matched", "ground truth", "predicted")
    rows = []
    for name, figures in scored.headline:
        values = figures.to_dict()
        rates = [f"{100 * float(values[column]):.2f}" for column in header[1:4]]
        counts = [f"{values[key]:g}" for key in ("matched", "ground_truth", "predicted") if key in values]
        rows.append([name, *rates, *counts])
    return table_html(header, rows)


def _curves(curve: Sequence[CurvePoint]) -> str:
    """Precision over recall, and the figures over the threshold."""
    passes = [("detection", DETECTION_COLOR, [(point.threshold, point.detection) for point in curve])]
    words = [(point.threshold, point.end_to_end) for point in curve if point.end_to_end is not None]
    if words:
        passes.append(("end-to-end", READING_COLOR, words))
    left = [Line(name, color, [(f.recall, f.precision) for _, f in points]) for name, color, points in passes]
    name, _, points = passes[-1]
    right = [
        Line("hmean", READING_COLOR, [(t, f.hmean) for t, f in points]),
        Line("precision", DETECTION_COLOR, [(t, f.precision) for t, f in points]),
        Line("recall", THIRD_COLOR, [(t, f.recall) for t, f in points]),
    ]
    threshold, figures = max(points, key=lambda point: point[1].hmean)
    best = f"The {name} hmean is highest, {100 * figures.hmean:.2f} %, with scores of at least {threshold:.3f}."
    charts = unit_chart("Precision over recall", left, x_label="recall", y_label="precision")
    charts += unit_chart(f"Threshold ({name})", right, x_label="lowest score that counts", y_label="figure")
    return f'<div class="charts">{charts}</div>{paragraphs([best])}'


def _summary(mistakes: Mapping[str, Mistakes], *, reading: bool) -> str:
    """How many of which kind, and the words that are misread most."""
    everything = list(mistakes.values())
    kinds = (
        ("missed", sum(len(m.missed) for m in everything)),
        ("false alarms", sum(len(m.false_alarms) for m in everything)),
        *([("misread", sum(len(m.misread) for m in everything))] if reading else []),
        ("images without a mistake", sum(not m.total for m in everything)),
    )
    tables = [table_html(("kind", "count"), [[name, str(count)] for name, count in kinds])]
    pairs = Counter((wanted, read) for m in everything for _, wanted, read in m.misread)
    if pairs:
        rows = [[wanted, read, str(count)] for (wanted, read), count in pairs.most_common(CONFUSIONS)]
        tables.append(table_html(("misread most: expected", "read", "times"), rows, text_columns=2))
    return f'<div class="tables">{"".join(tables)}</div>'
