"""The frame that every HTML page of ours stands in: one self-contained file, without scripts or addresses."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GalleryItem",
    "color_key",
    "figure_svg",
    "gallery_html",
    "page_html",
    "paragraphs",
    "style_axes",
    "table_html",
]

INK, SOFT, GRID = "#1c2430", "#5d6b7c", "#dfe4ea"
"""Colours of headings, of what is less important, and of lines, as in the style sheet."""

JPEG_QUALITY = 88

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
  thead th { font-weight: 600; color: var(--soft); }
  .curves svg { width: 100%; height: auto; }
  .charts { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
  .charts svg { width: 100%; height: auto; background: var(--card); border: 1px solid var(--line); }
  .tables { display: flex; flex-wrap: wrap; gap: 1.25rem 2.5rem; align-items: start; }
  th.text, td.text { text-align: left; }
  .gallery { display: grid; gap: 1.25rem; align-items: start; grid-auto-flow: dense;
    grid-template-columns: repeat(auto-fill, minmax(min(100%, 500px), 1fr)); }
  figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
  figure img { display: block; width: 100%; cursor: zoom-in; }
  figure:focus { grid-column: 1 / -1; outline: none; } figure:focus img { cursor: default; }
  figcaption { padding: .55rem .9rem; font-size: .9rem; color: var(--soft); overflow-wrap: anywhere; }
  figcaption b { color: var(--ink); } figcaption ul { margin: .35rem 0 0; padding-left: 1.1rem; }
  .scroll { overflow-x: auto; }
  ul.key { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .4rem 1.25rem; font-size: .9rem; }
  ul.key span { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em; }
</style>
</head>
<body><main>
<h1>$title</h1>
$body
</main></body></html>
""")


@dataclass
class GalleryItem:
    """A picture (H, W, 3) uint8 RGB, the line below it, and further lines as a list."""

    image: npt.NDArray[np.uint8]
    caption: str
    details: Sequence[str] = ()


def page_html(title: str, lead: Sequence[str], sections: Sequence[tuple[str, str]]) -> str:
    """A whole page.

    Args:
        title: headline, plain text.
        lead: paragraphs below it, plain text.
        sections: (heading as plain text, content as HTML).
    """
    parts = [f"<h2>{html.escape(heading)}</h2>\n{content}" for heading, content in sections]
    return _PAGE.substitute(title=html.escape(title), body="\n".join([paragraphs(lead), *parts]))


def paragraphs(texts: Sequence[str]) -> str:
    """Plain texts as paragraphs."""
    return "".join(f"<p>{html.escape(text)}</p>" for text in texts)


def table_html(header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> str:
    """A table of plain texts that scrolls sideways on a narrow screen; columns after ``text_columns`` are numbers."""

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = [' class="text"' if column < text_columns else "" for column in range(len(cells))]
        return "".join(f"<{tag}{kind}>{html.escape(c)}</{tag}>" for kind, c in zip(kinds, cells, strict=True))

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    head = f"<thead><tr>{line(header, 'th')}</tr></thead>"
    return f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'


def color_key(key: Sequence[tuple[str, str]]) -> str:
    """The legend: (CSS colour, meaning)."""
    items = "".join(f'<li><span style="background:{color}"></span>{html.escape(text)}</li>' for color, text in key)
    return f'<ul class="key">{items}</ul>'


def gallery_html(gallery: Sequence[GalleryItem]) -> str:
    """Pictures, embedded as JPEG; one that is clicked takes the whole width."""
    return f'<div class="gallery">{"".join(_figure(item) for item in gallery)}</div>'


def _figure(item: GalleryItem) -> str:
    buffer = io.BytesIO()
    Image.fromarray(item.image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    caption = html.escape(item.caption)
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in item.details)
    below = f"<b>{caption}</b><ul>{lines}</ul>" if lines else caption
    image = f'<img alt="{caption}" src="data:image/jpeg;base64,{data}">'
    return f'<figure tabindex="0">{image}<figcaption>{below}</figcaption></figure>'


def style_axes(axes: "Axes") -> None:
    """The look of every plot."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.tick_params(colors=SOFT)
    axes.title.set_color(INK)


def figure_svg(figure: "Figure") -> str:
    """A matplotlib figure as an SVG element without background; letters are drawn, so no font is needed."""
    figure.patch.set_alpha(0)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]
