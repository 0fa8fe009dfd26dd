"""The mistakes of one scored image: counted, worded, and drawn on the picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.data.images import read_image
from fasttcm.drawing import DONT_CARE, MATCHED, UNMATCHED, WRONG_TEXT, draw_words
from fasttcm.engine.html import GalleryItem
from fasttcm.errors import ImageError
from fasttcm.evaluation import ImageResult
from fasttcm.evaluation.formats import image_number

__all__ = ["COLORS", "MISSED", "Mistakes", "count_mistakes", "draw_image", "find_picture"]

MISSED = (134, 46, 188)
"""Purple: a ground truth that nothing found."""

_CSS = "rgb({}, {}, {})"
COLORS = {
    "matched": (_CSS.format(*MATCHED), "found and right"),
    "misread": (_CSS.format(*WRONG_TEXT), "found but misread: read [expected]"),
    "missed": (_CSS.format(*MISSED), "missed"),
    "false_alarm": (_CSS.format(*UNMATCHED), "false alarm"),
    "dont_care": (_CSS.format(*DONT_CARE), "does not count"),
}
"""CSS colour and meaning of what is drawn."""

LONGEST_SIDE = 960
"""Pixels of a picture on the page; larger ones are shrunk."""

SHEET_GREY = 246
"""Grey level (0..255) of the sheet that stands for a picture that is not there."""

SHEET_MARGIN = 1.05
"""A sheet of unknown size reaches this much further than its words."""

LONGEST_LIST = 12
"""Mistakes worded below a picture; the rest is counted."""

Polygon = npt.NDArray[np.float64]
Place = tuple[Polygon, str]


@dataclass(frozen=True)
class Mistakes:
    """What is drawn of one image.

    Every entry is (polygon, text); of a misread word (polygon, expected, read), both texts as they were compared.
    """

    matched: list[Place] = field(default_factory=list)
    misread: list[tuple[Polygon, str, str]] = field(default_factory=list)
    missed: list[Place] = field(default_factory=list)
    false_alarms: list[Place] = field(default_factory=list)
    dont_care: list[Polygon] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of mistakes."""
        return len(self.misread) + len(self.missed) + len(self.false_alarms)

    def headline(self, name: str) -> str:
        """One line: the image and its mistakes by kind."""
        alarms = "false alarm" if len(self.false_alarms) == 1 else "false alarms"
        kinds = (("missed", self.missed), (alarms, self.false_alarms), ("misread", self.misread))
        parts = [f"{len(found)} {kind}" for kind, found in kinds if found]
        return f"{name}: {', '.join(parts)}" if parts else f"{name}: no mistake"

    def lines(self) -> list[str]:
        """The mistakes in words, and what was left out before scoring."""
        lines = [f"misread: “{read}” instead of “{wanted}”" for _, wanted, read in self.misread]
        lines += [f"missed: “{text}”" for _, text in self.missed]
        lines += [f"false alarm: “{text}”" if text else "false alarm" for _, text in self.false_alarms]
        if len(lines) > LONGEST_LIST:
            lines = [*lines[:LONGEST_LIST], f"and {len(lines) - LONGEST_LIST} more"]
        for reason, texts in self.left_out.items():
            shown = ", ".join(f"“{text}”" for text in texts[:LONGEST_LIST])
            more = f" and {len(texts) - LONGEST_LIST} more" if len(texts) > LONGEST_LIST else ""
            lines.append(f"left out, {reason.replace('_', ' ')}: {shown}{more}")
        return lines


def count_mistakes(image: ImageResult, ground_truth: Mapping[str, Any], predictions: Mapping[str, Any]) -> Mistakes:
    """Sort the words of one image by what became of them, in the pass that also reads where there is one."""
    outcome = image.end_to_end if image.end_to_end is not None else image.detection
    wanted, found = ground_truth["words"], predictions.get("words", [])
    read = dict(zip(image.kept, image.read, strict=False))
    ours = Mistakes(
        missed=[(_points(wanted[g]), str(wanted[g].get("text", ""))) for g in outcome.misses],
        false_alarms=[(_points(found[d]), _text(found, read, d)) for d in outcome.false_alarms],
        dont_care=[_points(wanted[g]) for g in outcome.gt_dont_care]
        + [_points(found[d]) for d in outcome.det_dont_care],
        left_out={
            reason: [str(found[d].get("text", "")) for d in rows] for reason, rows in image.removed.items() if rows
        },
    )
    for match in outcome.matches:
        polygon, text = _points(found[match.det]), _text(found, read, match.det)
        if match.text_correct or image.end_to_end is None:
            ours.matched.append((polygon, text))
        else:
            ours.misread.append((polygon, image.references[match.gt], text))
    return ours


def draw_image(
    key: str, mistakes: Mistakes, entry: Mapping[str, Any], folder: Path | None, problems: list[str]
) -> GalleryItem:
    """Draw one image for the page.

    Args:
        key: its id.
        mistakes: what to draw.
        entry: the ground truth, for file name and size.
        folder: image files; ``None``: a blank sheet.
        problems: gets a line when the image file cannot be read.
    """
    path = None if folder is None else find_picture(folder, entry)
    picture = None
    if path is not None:
        try:
            picture = read_image(path)
        except ImageError as error:
            problems.append(str(error))
    groups = (
        ([(polygon, "") for polygon in mistakes.dont_care], DONT_CARE),
        (mistakes.matched, MATCHED),
        ([(polygon, f"{read} [{expected}]") for polygon, expected, read in mistakes.misread], WRONG_TEXT),
        (mistakes.missed, MISSED),
        (mistakes.false_alarms, UNMATCHED),
    )
    polygons = [polygon for group, _ in groups for polygon, _ in group]
    height, width = picture.shape[:2] if picture is not None else _sheet_size(entry, polygons)
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    canvas = np.full((*size, 3), SHEET_GREY, np.uint8) if picture is None else _shrink(picture, size)
    drawn = draw_words(
        canvas,
        [polygon * scale for polygon in polygons],
        [text for group, _ in groups for _, text in group],
        colors=[color for group, color in groups for _ in group],
        min_side=LONGEST_SIDE,
    )
    return GalleryItem(drawn, mistakes.headline(str(entry.get("file_name") or key)), mistakes.lines())


def find_picture(folder: Path, entry: Mapping[str, Any]) -> Path | None:
    """The image file of an entry inside a folder: by its ``file_name``, else by its id or number; ``None``: not there.

    A name that leads out of the folder is not followed.
    """
    name, image_id = entry.get("file_name"), entry["id"]
    stems = [str(image_id), f"img_{image_id}"]
    number = image_number(image_id)
    if number is not None:
        stems += [str(number), f"img{number}", f"img_{number}", f"{number:04d}", f"{number:07d}"]
    names = [name, Path(name).name] if isinstance(name, str) and name else []
    names += [stem + suffix for stem in stems for suffix in (".jpg", ".png", ".jpeg", ".JPG")]
    root = folder.resolve()
    for candidate in names:
        path = folder / candidate
        if "\0" not in candidate and path.is_file() and path.resolve().is_relative_to(root):
            return path
    return None


def _points(word: Mapping[str, Any]) -> Polygon:
    return np.asarray(word["points"], np.float64).reshape(-1, 2)


def _text(found: Sequence[Mapping[str, Any]], read: Mapping[int, str], index: int) -> str:
    """The transcription as compared, or as predicted where nothing was compared."""
    return str(read.get(index) or found[index].get("text", ""))


def _shrink(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    if picture.shape[:2] == size:
        return picture
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def _sheet_size(entry: Mapping[str, Any], polygons: Sequence[Polygon]) -> tuple[float, float]:
    """(height, width) as annotated, else as far as the words reach."""
    height, width = entry.get("height"), entry.get("width")
    if isinstance(height, (int, float)) and isinstance(width, (int, float)) and min(height, width) >= 1:
        return float(height), float(width)
    points = np.concatenate([np.ones((1, 2)), *polygons])
    width, height = SHEET_MARGIN * points.max(axis=0)
    return float(height), float(width)
