"""Draw words on photographs: outlines, transcriptions, and what the scorer made of them.

Images are (H, W, 3) uint8 RGB arrays; polygons are (p, 2) pixels of that image. Nothing is drawn in place.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fasttcm.geometry import polygon_box, polygon_perimeter
from fasttcm.structures import TextPredictions, TextTargets

__all__ = [
    "ACCENT",
    "DONT_CARE",
    "MATCHED",
    "UNMATCHED",
    "WRONG_TEXT",
    "draw_predictions",
    "draw_targets",
    "draw_words",
    "match_colors",
    "side_by_side",
]

FloatArray = npt.NDArray[np.floating]
ImageArray = npt.NDArray[np.uint8]
Color = tuple[int, int, int]
Box = tuple[int, int, int, int]

ACCENT: Color = (0, 148, 230)
"""Blue: a word nobody judged."""
MATCHED: Color = (22, 160, 72)
"""Green: found, and read rightly where reading counts."""
WRONG_TEXT: Color = (240, 160, 0)
"""Amber: found and misread."""
UNMATCHED: Color = (220, 38, 38)
"""Red: a false alarm among the predictions, a miss among the ground truth."""
DONT_CARE: Color = (140, 146, 154)
"""Grey: neither right nor wrong."""

FILL_OPACITY = 0.16
HALO_OPACITY = 0.45
LINE_SHARE = 0.0024
"""Outline width as a share of the longer image side."""
FONT_SHARES = (0.013, 0.026)
"""Smallest and largest label as shares of the longer image side; within them a label is as high as 0.6 of its word."""
FONT_OF_WORD = 0.6
SMALLEST_FONT = 11
"""Pixels; below that the letters run together."""
LONGEST_LABEL = 32
"""Characters; the rest of a line is cut."""
SUBPIXEL_BITS = 4
"""Fixed-point bits of the coordinates that OpenCV draws."""
DARK_TEXT_LUMINANCE = 150
"""A tag brighter than this (0..255) gets dark letters."""
DARK: Color = (20, 24, 28)
WHITE: Color = (255, 255, 255)


def draw_words(
    image: ImageArray,
    polygons: Sequence[FloatArray],
    texts: Sequence[str],
    *,
    scores: Sequence[float] | None = None,
    colors: Sequence[Color] | None = None,
    ignore: Sequence[bool] | None = None,
    min_side: int = 0,
) -> ImageArray:
    """Outline words, tint them lightly, and write each transcription on a tag beside its word.

    Args:
        image: (H, W, 3) uint8 RGB.
        polygons: n arrays (p_i, 2); fewer than two points are skipped.
        texts: n transcriptions; an empty one gets no tag (unless it has a score). Unprintable characters become
            ``·``; beyond ASCII, matplotlib's font is used when installed, and letters it lacks show as boxes.
        scores: n numbers written behind the texts.
        colors: n RGB colours; :data:`ACCENT` by default.
        ignore: n flags; those words are drawn grey and without a tag.
        min_side: enlarge the picture to this length of its longer side before drawing, so that labels on a thumbnail
            can be read; smaller than the picture: no change.

    Returns:
        (H', W', 3) uint8 RGB, as large as ``image`` unless enlarged.

    Raises:
        ValueError: for another image type, or lists that differ in length.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected a (H, W, 3) uint8 image, got {image.shape} {image.dtype}")
    count = len(polygons)
    for name, values in (("texts", texts), ("scores", scores), ("colors", colors), ("ignore", ignore)):
        if values is not None and len(values) != count:
            raise ValueError(f"{count} polygons need {count} {name}, got {len(values)}")
    longer = max(image.shape[:2])
    scale = max(1.0, min_side / longer)
    canvas = _resize(image, scale)
    skipped = [False] * count if ignore is None else list(ignore)
    paints = [ACCENT] * count if colors is None else list(colors)
    rings: list[FloatArray] = []
    tags: list[str] = []
    used: list[Color] = []
    for i, polygon in enumerate(polygons):
        ring = np.asarray(polygon, np.float64).reshape(-1, 2)
        if len(ring) < 2 or not np.isfinite(ring).all():
            continue
        rings.append(np.clip(ring, -longer, 2 * longer) * scale)
        tags.append("" if skipped[i] else _label(texts[i], None if scores is None else float(scores[i])))
        used.append(DONT_CARE if skipped[i] else paints[i])
    return _draw_tags(_draw_outlines(canvas, rings, used), rings, tags, used)


def draw_predictions(
    image: ImageArray,
    predictions: TextPredictions,
    *,
    colors: Sequence[Color] | None = None,
    show_scores: bool = False,
    min_side: int = 0,
) -> ImageArray:
    """Draw what a model found; see :func:`draw_words`."""
    scores = predictions.scores.tolist() if show_scores else None
    return draw_words(image, predictions.polygons, predictions.texts, scores=scores, colors=colors, min_side=min_side)


def draw_targets(
    image: ImageArray, targets: TextTargets, *, colors: Sequence[Color] | None = None, min_side: int = 0
) -> ImageArray:
    """Draw ground truth, ignored words grey and without transcription; see :func:`draw_words`."""
    ignore = targets.ignore.tolist()
    return draw_words(image, targets.polygons, targets.texts, colors=colors, ignore=ignore, min_side=min_side)


def match_colors(
    count: int, outcome: Mapping[str, Any], *, side: Literal["predictions", "ground_truth"] = "predictions"
) -> list[Color]:
    """Colour words by a scoring result.

    Args:
        count: number of words that were given to the scorer.
        outcome: one pass over one image, ``result.images[id].end_to_end.to_dict()`` or the same part of a saved JSON:
            ``matches`` [[gt, det, iou, text_correct], ...], ``false_alarms``, ``misses``. Of the detection pass,
            drop the last column to colour by place alone.
        side: whose words are coloured.

    Returns:
        ``count`` colours: green matched, amber matched with a wrong text, red unmatched, grey everything else (don't
        care, or left out before scoring).
    """
    colors = [DONT_CARE] * count
    column = 1 if side == "predictions" else 0
    for match in outcome["matches"]:
        colors[match[column]] = WRONG_TEXT if len(match) > 3 and not match[3] else MATCHED
    for index in outcome["false_alarms" if side == "predictions" else "misses"]:
        colors[index] = UNMATCHED
    return colors


def side_by_side(images: Sequence[ImageArray], titles: Sequence[str] = (), *, gap: int = 12) -> ImageArray:
    """Put pictures in a row on white, scaled to the height of the tallest, each below its title.

    Args:
        images: at least one (H_i, W_i, 3) uint8 picture.
        titles: one line for each picture, or none.
        gap: pixels between pictures and around them.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: without pictures, or when the numbers of pictures and titles differ.
    """
    if not images or (titles and len(titles) != len(images)):
        raise ValueError(f"expected pictures and one title each (or none), got {len(images)} and {len(titles)}")
    height = max(image.shape[0] for image in images)
    row = [_resize(image, height / image.shape[0]) for image in images]
    font = _font(int(np.clip(0.035 * height, 14, 44)))
    band = sum(font.getmetrics()) + gap if titles else 0
    width = sum(image.shape[1] for image in row) + gap * (len(row) + 1)
    sheet = Image.new("RGB", (width, height + band + 2 * gap), WHITE)
    pen = ImageDraw.Draw(sheet)
    x = gap
    for number, image in enumerate(row):
        if titles:
            pen.text((x, gap), _fit(titles[number], font, image.shape[1]), font=font, fill=DARK)
        sheet.paste(Image.fromarray(image), (x, gap + band))
        x += image.shape[1] + gap
    return np.array(sheet)


def _resize(image: ImageArray, scale: float) -> ImageArray:
    """A scaled copy; smooth both ways."""
    if scale == 1:
        return image.copy()
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def _draw_outlines(canvas: ImageArray, rings: Sequence[FloatArray], colors: Sequence[Color]) -> ImageArray:
    """Tint the insides, then lay a dark halo and the coloured line over every outline."""
    width = max(1, round(LINE_SHARE * max(canvas.shape[:2])))
    points = [np.round(ring * (1 << SUBPIXEL_BITS)).astype(np.int32).reshape(-1, 1, 2) for ring in rings]
    tint = canvas.copy()
    for outline, color in zip(points, colors, strict=True):
        cv2.fillPoly(tint, [outline], color, cv2.LINE_AA, SUBPIXEL_BITS)
    canvas = np.asarray(cv2.addWeighted(tint, FILL_OPACITY, canvas, 1 - FILL_OPACITY, 0), np.uint8)
    halo = canvas.copy()
    for outline in points:
        cv2.polylines(halo, [outline], True, DARK, width + 2, cv2.LINE_AA, SUBPIXEL_BITS)
    canvas = np.asarray(cv2.addWeighted(halo, HALO_OPACITY, canvas, 1 - HALO_OPACITY, 0), np.uint8)
    for outline, color in zip(points, colors, strict=True):
        cv2.polylines(canvas, [outline], True, color, width, cv2.LINE_AA, SUBPIXEL_BITS)
    return canvas


def _draw_tags(
    canvas: ImageArray, rings: Sequence[FloatArray], tags: Sequence[str], colors: Sequence[Color]
) -> ImageArray:
    """Write the labels, each on a filled tag at a free place beside its word."""
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    longer = max(canvas.shape[:2])
    words = [_pixel_box(ring) for ring in rings]
    placed: list[Box] = []
    for ring, text, color in zip(rings, tags, colors, strict=True):
        if not text:
            continue
        low, high = (max(SMALLEST_FONT, round(share * longer)) for share in FONT_SHARES)
        font = _font(int(np.clip(FONT_OF_WORD * _thickness(ring), low, high)), wide=not text.isascii())
        pad = max(2, round(0.22 * font.size))
        text = _fit(text, font, canvas.shape[1] - 2 * pad)
        size = (round(font.getlength(text)) + 2 * pad, sum(font.getmetrics()) + pad)
        box = _place(size, _pixel_box(ring), placed, words, canvas.shape[1], canvas.shape[0])
        placed.append(box)
        pen.rounded_rectangle((box[0], box[1], box[2] - 1, box[3] - 1), radius=pad, fill=color)
        luminance = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
        pen.text(
            (box[0] + pad, box[1] + pad // 2), text, font=font, fill=DARK if luminance > DARK_TEXT_LUMINANCE else WHITE
        )
    return np.array(picture)


def _place(
    size: tuple[int, int], word: Box, placed: Sequence[Box], words: Sequence[Box], width: int, height: int
) -> Box:
    """Where a tag of ``size`` (w, h) hides least: above its word if that is free, else below or to the sides.

    Covering another tag weighs more than covering a word; among equals the first candidate wins.
    """
    w, h = size
    x0, y0, x1, y1 = word
    starts = [(x0, y0 - h - 2), (x0, y1 + 2), (x1 - w, y0 - h - 2), (x1 - w, y1 + 2), (x1 + 2, y0), (x0 - w - 2, y0)]
    boxes = []
    for x, y in starts:
        x, y = min(max(x, 0), max(width - w, 0)), min(max(y, 0), max(height - h, 0))
        boxes.append((x, y, x + w, y + h))
    return min(boxes, key=lambda box: 10 * sum(_common(box, b) for b in placed) + sum(_common(box, b) for b in words))


def _common(a: Box, b: Box) -> int:
    """Area of the intersection of two boxes."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _pixel_box(ring: FloatArray) -> Box:
    """Whole-pixel bounding box."""
    x0, y0, x1, y1 = polygon_box(ring)
    return int(np.floor(x0)), int(np.floor(y0)), int(np.ceil(x1)), int(np.ceil(y1))


def _thickness(ring: FloatArray) -> float:
    """About the height of a word's letters: the short side of the rectangle with the same area and perimeter."""
    half, area = polygon_perimeter(ring) / 2, abs(cv2.contourArea(ring.astype(np.float32)))
    return half / 2 - float(np.sqrt(max(half**2 / 4 - area, 0.0)))


def _label(text: str, score: float | None) -> str:
    """One printable line."""
    clean = "".join(c if c.isprintable() else "·" for c in text)
    clean = clean if len(clean) <= LONGEST_LABEL else clean[: LONGEST_LABEL - 1] + "…"
    return clean if score is None else f"{clean} {score:.2f}".strip()


def _fit(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The beginning of a line that fits into ``width`` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…" if text else ""


@lru_cache
def _wide_font_file() -> str | None:
    """DejaVu Sans from matplotlib's wheel, if that is installed: it has the letters that Pillow's own font lacks."""
    package = find_spec("matplotlib")
    if package is None or package.origin is None:
        return None
    file = Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return str(file) if file.is_file() else None


@lru_cache(maxsize=64)
def _font(size: int, *, wide: bool = False) -> ImageFont.FreeTypeFont:
    """Pillow's own scalable font, or for texts beyond ASCII a wider one where there is one."""
    file = _wide_font_file() if wide else None
    font = ImageFont.load_default(size) if file is None else ImageFont.truetype(file, size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType; install a Pillow wheel to draw labels")
    return font
