"""One self-contained HTML page about a training run: scores, curves, and pictures side by side."""

import base64
import csv
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["GalleryItem", "curves_svg", "write_page"]

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
  :root { --ink: #1c2430; --soft: #5d6b7c; --line: #dfe4ea; --paper: #fbfbf9; --card: #fff; --accent: #0b7a75; }
  body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
  main { max-width: 1080px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
  h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; }
  h2 { font-size: 1.25rem; margin: 2.75rem 0 .75rem; }
  p { max-width: 46rem; margin: .5rem 0; } .soft { color: var(--soft); }
  code { font-size: .9em; background: #eef1f4; border-radius: 4px; padding: .1em .35em; }
  table { border-collapse: collapse; background: var(--card); border: 1px solid var(--line); }
  th, td { padding: .45rem .9rem; text-align: right; border-bottom: 1px solid var(--line); }
  td { font-variant-numeric: tabular-nums; }
  th:first-child, td:first-child { text-align: left; } thead th { font-weight: 600; color: var(--soft); }
  .curves svg { width: 100%; height: auto; }
  .gallery { display: grid; gap: 1.25rem;
    grid-template-columns: repeat(auto-fill, minmax(min(100%, 500px), 1fr)); }
  figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
  figure img { display: block; width: 100%; }
  figcaption { padding: .55rem .9rem; font-size: .9rem; color: var(--soft); }
  .scroll { overflow-x: auto; }
  ul.key { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .4rem 1.25rem; font-size: .9rem; }
  ul.key span { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em; }
</style>
</head>
<body><main>
<h1>$title</h1>
$lead
<h2>Scores</h2>
<div class="scroll">$table</div>
$remark
<h2>Training</h2>
<div class="curves">$curves</div>
<h2>Pictures</h2>
$key
<div class="gallery">$gallery</div>
</main></body></html>
""")
_INK, _SOFT = "#1c2430", "#5d6b7c"


@dataclass
class GalleryItem:
    """A picture (H, W, 3) uint8 RGB and the line below it."""

    image: npt.NDArray[np.uint8]
    caption: str


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
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    colours = "".join(f'<li><span style="background:{colour}"></span>{html.escape(text)}</li>' for colour, text in key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        _PAGE.substitute(
            title=html.escape(title),
            lead=_paragraphs(lead),
            table=f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>",
            remark=_paragraphs(remark),
            curves=curves,
            key=f'<ul class="key">{colours}</ul>',
            gallery="".join(_figure(item) for item in gallery),
        ),
        encoding="utf-8",
    )


def _paragraphs(texts: Sequence[str]) -> str:
    return "".join(f"<p>{html.escape(text)}</p>" for text in texts)


def _figure(item: GalleryItem) -> str:
    buffer = io.BytesIO()
    Image.fromarray(item.image).save(buffer, "JPEG", quality=88)
    data = base64.b64encode(buffer.getvalue()).decode()
    caption = html.escape(item.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/jpeg;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )


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
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.tick_params(colors=_SOFT)
        axes.title.set_color(_INK)
        axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    figure.patch.set_alpha(0)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]
