"""One word per line, as the public text files write it (SPEC ``evaluation`` sections 3 and 4).

Curve layout: ``x1,y1,...,xn,yn,####text``. ICDAR 2015 layout: ``x1,y1,...,x4,y4,text`` in whole pixels.
"""

import functools
import math
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from fasttcm.errors import DataError
from fasttcm.evaluation.flavours import unquote
from fasttcm.evaluation.polygons import MIN_POINTS

__all__ = ["LAYOUTS", "Layout", "Line", "Points", "parse_line", "quote", "signed_area", "sort_corners"]

Points = list[list[float]]
"""[[x, y], ...] in pixels."""

SEPARATOR = ",####"
"""Between coordinates and transcription in the curve layout; a second one ends the transcription."""

QUAD_NUMBERS = 8
"""Coordinates of a line of the ICDAR 2015 layout."""


@dataclass(frozen=True)
class Layout:
    """Names of the text files: patterns whose group is the image number, and how a submission is named."""

    name: Literal["curve", "icdar2015"]
    ground_truth: re.Pattern[str]
    predictions: re.Pattern[str]
    submission: str

    def pattern(self, role: str) -> re.Pattern[str]:
        """The pattern of one side, ``"ground truth"`` or ``"predictions"``."""
        return self.ground_truth if role == "ground truth" else self.predictions


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("curve", re.compile(r"([0-9]+)\.txt"), re.compile(r"([0-9]+)\.txt"), "{:07d}.txt"),
        Layout(
            "icdar2015", re.compile(r"gt_img_([0-9]+)\.txt"), re.compile(r"res_img_([0-9]+)\.txt"), "res_img_{}.txt"
        ),
    )
}
"""The published layouts by name."""


class Line(NamedTuple):
    """One word, and a sentence for each thing in its line that the published script would refuse."""

    points: Points
    text: str
    mended: list[str]


def parse_line(line: str, *, layout: Layout, text_required: bool) -> Line:
    """Read one line.

    Args:
        line: without its line break.
        layout: which of the two.
        text_required: whether a line of numbers alone is an error; otherwise its text is empty, which is mended.

    Raises:
        DataError: for a line that cannot be understood; the message does not yet say where it stands.
    """
    if layout.name == "curve":
        head, *tail = line.strip().split(SEPARATOR)
        found = bool(tail)
        numbers, text = head.split(","), tail[0].strip() if found else ""
        wanted = f"x1,y1,...,xn,yn{SEPARATOR}text"
    else:
        pieces = line.split(",", QUAD_NUMBERS)
        found = len(pieces) > QUAD_NUMBERS
        numbers, text = pieces[:QUAD_NUMBERS], pieces[-1] if found else ""
        wanted = "x1,y1,x2,y2,x3,y3,x4,y4,text"
    if text_required and not found:
        raise DataError(f"no transcription; expected {wanted}")
    points = _points(numbers, wanted)
    mended = [] if found else ["there is no transcription"]
    if layout.name == "icdar2015":
        if len(points) * 2 != QUAD_NUMBERS:
            raise DataError(f"{len(numbers)} coordinates instead of {QUAD_NUMBERS}; expected {wanted}")
        if not all(re.fullmatch(r"\s*-?[0-9]+\s*", number) for number in numbers):
            mended.append("the coordinates are no whole numbers")
    elif len(points) < MIN_POINTS:
        if text_required:
            raise DataError(f"an outline needs at least {MIN_POINTS} points, got {len(points)}")
        mended.append(f"the outline has only {len(points)} points")
    return Line(points, unquote(text), mended)


def quote(text: str, *, stripped: bool) -> str:
    """What has to be written so that ``text`` is read back by :func:`parse_line`.

    Line breaks become spaces. Only a text that stands in double quotes itself is put in quotes; where the layout's
    reader takes white space off first (``stripped``), also one with white space around its quotes.
    """
    text = re.sub(r"[\r\n]+", " ", text)
    seen = text.strip() if stripped else text
    if unquote(seen) == seen:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def signed_area(points: Points | np.ndarray) -> float:
    """Half the shoelace sum: positive for an outline that runs clockwise as seen in the image."""
    x, y = np.asarray(points, np.float64).reshape(-1, 2).T
    return float(x @ np.roll(y, -1) - np.roll(x, -1) @ y) / 2


def sort_corners(points: Points) -> Points:
    """Corners around their mean as TCM's copy of the ICDAR 2015 script puts them, clockwise as seen.

    The script does so with outlines that run the other way; the corners stay, an outline with a dent may change.
    """
    middle_x, middle_y = np.mean(np.asarray(points, np.float64), axis=0)

    def compare(a: list[float], b: list[float]) -> int:
        ax, ay, bx, by = a[0] - middle_x, a[1] - middle_y, b[0] - middle_x, b[1] - middle_y
        if (ax >= 0) != (bx >= 0):
            return 1 if ax >= 0 else -1
        cross = ax * by - bx * ay
        if cross != 0:
            return 1 if cross > 0 else -1
        return -1 if ax * ax + ay * ay > bx * bx + by * by else 1

    ordered = sorted(points, key=functools.cmp_to_key(compare))
    return ordered if signed_area(ordered) >= 0 else ordered[::-1]


def _points(numbers: list[str], wanted: str) -> Points:
    """Pairs of finite numbers."""
    try:
        values = [float(number) for number in numbers]
    except ValueError as error:
        raise DataError(f"{error}; expected {wanted}") from error
    if not all(map(math.isfinite, values)):
        raise DataError("a coordinate is not finite")
    if len(values) % 2:
        raise DataError(f"an odd number of coordinates ({len(values)}); expected {wanted}")
    return [values[i : i + 2] for i in range(0, len(values), 2)]
