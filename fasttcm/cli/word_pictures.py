"""Annotations on pictures: where each word starts, which side is its top, and what it is said to read."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fasttcm.drawing import ACCENT, DONT_CARE, UNMATCHED, draw_targets, draw_words
from fasttcm.geometry import split_sides
from fasttcm.structures import FloatArray, TextTargets

__all__ = ["Tile", "close_up", "contact_sheet", "draw_annotations"]

ImageArray = npt.NDArray[np.uint8]

TOP: tuple[int, int, int] = (255, 176, 0)
"""Amber: the top side."""

TILE_WIDTH, PICTURE_HEIGHT = 300, 170
MARGIN = 0.35
"""Surroundings of a word on its close-up, over its longer side."""
LEAST_MARGIN = 12.0
"""Pixels of the photograph."""
COLUMNS = 6
FONT = 13
LINES = 5
GAP = 6
INK, PAPER = (20, 24, 28), (255, 255, 255)


class Tile(NamedTuple):
    """One field of a contact sheet: a close-up and the lines below it."""

    picture: ImageArray
    lines: Sequence[str]


def draw_annotations(image: ImageArray, targets: TextTargets, *, min_side: int = 0) -> ImageArray:
    """A photograph with its words: outline, transcription, the top side in amber, a dot on the first point.

    Args:
        image: (h, w, 3) uint8.
        targets: its words; ignored ones are grey and have no text.
        min_side: enlarge the picture to this length of its longer side.

    Returns:
        (h', w', 3) uint8.
    """
    canvas = draw_targets(image, targets, min_side=min_side)
    scale = max(1.0, min_side / max(image.shape[:2]))
    for polygon, ignore in zip(targets.polygons, targets.ignore.tolist(), strict=True):
        if not ignore:
            _mark_order(canvas, np.asarray(polygon, np.float64) * scale)
    return canvas


def close_up(image: ImageArray, polygon: FloatArray, curve: FloatArray, *, ignore: bool = False) -> ImageArray:
    """One word and what is around it, as large as a field of the contact sheet allows.

    Args:
        image: (h, w, 3) uint8 photograph.
        polygon: (p, 2) outline, drawn in blue (grey if it is a do not care) with its top side and first point.
        curve: (q, 2) points of its curve, drawn thin and red below it: they show where the two differ.
        ignore: whether the word is a do not care.

    Returns:
        (h', w', 3) uint8 of at most :data:`TILE_WIDTH` x :data:`PICTURE_HEIGHT`.
    """
    ring = np.asarray(polygon, np.float64)
    low, high = ring.min(axis=0), ring.max(axis=0)
    margin = max(MARGIN * float((high - low).max()), LEAST_MARGIN)
    height, width = image.shape[:2]
    x0, y0 = np.clip(np.floor(low - margin), 0, [width - 1, height - 1]).astype(int)
    x1, y1 = np.maximum(np.clip(np.ceil(high + margin), 1, [width, height]), [x0 + 1, y0 + 1]).astype(int)
    piece = image[y0:y1, x0:x1]
    scale = min(TILE_WIDTH / piece.shape[1], PICTURE_HEIGHT / piece.shape[0])
    size = (max(1, round(piece.shape[1] * scale)), max(1, round(piece.shape[0] * scale)))
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    canvas = np.asarray(cv2.resize(piece, size, interpolation=method), np.uint8)

    def moved(points: FloatArray) -> FloatArray:
        return (np.asarray(points, np.float64) - [x0, y0]) * scale

    canvas = draw_words(canvas, [moved(ring)], [""], colors=[DONT_CARE if ignore else ACCENT])
    cv2.polylines(canvas, [_fixed(moved(curve))], True, UNMATCHED, 1, cv2.LINE_AA, 4)
    _mark_order(canvas, moved(ring))
    return canvas


def contact_sheet(tiles: Sequence[Tile]) -> ImageArray:
    """Close-ups in rows of six on white, each above its lines; (H, W, 3) uint8. At least one tile."""
    font = ImageFont.load_default(FONT)
    line_height = FONT + 4
    tile_height = PICTURE_HEIGHT + LINES * line_height + GAP
    rows, columns = math.ceil(len(tiles) / COLUMNS), min(COLUMNS, len(tiles))
    sheet = Image.new("RGB", (columns * (TILE_WIDTH + GAP) + GAP, rows * (tile_height + GAP) + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        x, y = GAP + column * (TILE_WIDTH + GAP), GAP + row * (tile_height + GAP)
        picture = Image.fromarray(tile.picture)
        sheet.paste(picture, (x + (TILE_WIDTH - picture.width) // 2, y + (PICTURE_HEIGHT - picture.height) // 2))
        for place, line in enumerate(tile.lines[:LINES]):
            pen.text((x, y + PICTURE_HEIGHT + 4 + place * line_height), _fit(line, font), font=font, fill=INK)
    return np.asarray(sheet)


def _mark_order(canvas: ImageArray, ring: FloatArray) -> None:
    """The top side and the first point, drawn in place."""
    top = split_sides(ring)[0] if len(ring) >= 4 else ring[:2]
    width = max(2, round(0.0024 * max(canvas.shape[:2])) + 1)
    cv2.polylines(canvas, [_fixed(top)], False, TOP, width, cv2.LINE_AA, 4)
    first = _fixed(ring[:1])[0, 0]
    for radius, color in ((width + 3, PAPER), (width + 1, UNMATCHED)):
        cv2.circle(canvas, tuple(first.tolist()), radius << 4, color, -1, cv2.LINE_AA, 4)


def _fixed(points: FloatArray) -> npt.NDArray[np.int32]:
    """(n, 1, 2) in OpenCV's fixed point with 4 bits, kept within what it can draw."""
    return np.round(np.clip(points, -1e4, 1e4) * 16).astype(np.int32).reshape(-1, 1, 2)


def _fit(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A line cut to the width of a tile, without characters that cannot be printed."""
    line = "".join(c if c.isprintable() and ord(c) < 0x2000 else "?" for c in line)
    if font.getlength(line) <= TILE_WIDTH:
        return line
    while line and font.getlength(line + "...") > TILE_WIDTH:
        line = line[:-1]
    return line + "..."
