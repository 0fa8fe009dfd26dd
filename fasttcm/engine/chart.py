"""A small line chart as an SVG element of an HTML page: no library, no font, no address."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from fasttcm.engine.html import GRID, INK, SOFT

__all__ = ["Line", "unit_chart"]

WIDTH, HEIGHT = 520, 360
"""Drawing units; the page scales the chart to its column."""
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 40, 46
"""Margins around the plot, for the title and the axes."""
STEP = 0.2
"""Distance of the grid lines."""
LEGEND_ROW = 18


@dataclass(frozen=True)
class Line:
    """One curve: its name, CSS colour, and (x, y) points within the unit square, in drawing order."""

    name: str
    color: str
    points: Sequence[tuple[float, float]]


def unit_chart(title: str, lines: Sequence[Line], *, x_label: str, y_label: str) -> str:
    """Curves over the unit square, with grid, axes and a legend in the lower left corner.

    Args:
        title: above the plot, plain text.
        lines: what to draw; one of a single point shows as a dot.
        x_label: below the horizontal axis.
        y_label: beside the vertical axis.
    """
    parts = [_text((LEFT + WIDTH - RIGHT) / 2, 22, title, size=15, color=INK, anchor="middle", weight=600)]
    for number in range(round(1 / STEP) + 1):
        tick = number * STEP
        (x, _), (_, y) = _place(tick, 0), _place(0, tick)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 17, f"{tick:.1f}", size=12, color=SOFT, anchor="middle"))
        parts.append(_text(LEFT - 8, y + 4, f"{tick:.1f}", size=12, color=SOFT, anchor="end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_label, size=13, color=SOFT, anchor="middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    label = _text(14, middle, y_label, size=13, color=SOFT, anchor="middle")
    parts.append(f'<g transform="rotate(-90 14 {middle:.1f})">{label}</g>')
    parts += [_curve(line) for line in lines]
    bottom = HEIGHT - BOTTOM - 12 - LEGEND_ROW * (len(lines) - 1)
    for number, line in enumerate(lines):
        y = bottom + LEGEND_ROW * number
        parts.append(f'<path d="M{LEFT + 12} {y - 4}h20" stroke="{line.color}" stroke-width="3"/>')
        parts.append(_text(LEFT + 40, y, line.name, size=12, color=INK))
    name = html.escape(title)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">{"".join(parts)}</svg>'


def _curve(line: Line) -> str:
    places = [_place(x, y) for x, y in line.points]
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{line.color}"/>' for x, y in places)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{path}" fill="none" stroke="{line.color}" stroke-width="2"/>{dots}'


def _place(x: float, y: float) -> tuple[float, float]:
    """Drawing units of a point of the unit square."""
    return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM)


def _text(x: float, y: float, text: str, *, size: int, color: str, anchor: str = "start", weight: int = 400) -> str:
    style = f'font-size="{size}" font-weight="{weight}" fill="{color}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{html.escape(text)}</text>'
