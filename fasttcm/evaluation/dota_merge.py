"""Detections of tiles brought back into their whole images (SPEC ``evaluation`` section 9.4).

DOTA's images are cut into overlapping tiles, possibly at several scales; the name of a tile says where it lay. Merging
moves its boxes back and lets the highest score win among boxes that overlap.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fasttcm.errors import ConfigError, DataError
from fasttcm.evaluation.dota_files import Detections, read_task1
from fasttcm.evaluation.dota_json import dota_detections_from_json
from fasttcm.geometry import boxes_overlap, outline_boxes, polyiou, signed_areas

__all__ = ["MERGE_RULES", "MergeRule", "Tile", "merge_tiles", "parse_tile_name", "suppress"]

FloatArray = npt.NDArray[np.floating]

BOXES_AT_ONCE = 256
"""Boxes whose neighbours are looked up in one go: what they suppress needs no look-up, and the memory stays small."""

_RATE = re.compile(r"__([\d+\.]+)__\d+___")
_OFFSET = re.compile(r"__(\d+)___(\d+)")


@dataclass(frozen=True)
class MergeRule:
    """Suppression of one published script.

    Attributes:
        name: key in :data:`MERGE_RULES`.
        threshold: overlap above which the lower score goes.
        boxes_first: only boxes whose bounding boxes share an area are compared. The figures differ in one case: two
            boxes without area have no IoU; where every pair is compared, the second of them goes wherever it lies.
    """

    name: str
    threshold: float
    boxes_first: bool


MERGE_RULES = {
    rule.name: rule
    for rule in (
        MergeRule("result_merge", 0.3, boxes_first=False),
        MergeRule("result_merge_multi_process", 0.1, boxes_first=True),
    )
}
"""The two scripts of the DOTA development kit, by file name."""


@dataclass(frozen=True)
class Tile:
    """Where a tile lay: pixels (x, y) of its corner in the image enlarged by ``rate``."""

    image: str
    rate: float
    x: int
    y: int


def merge_tiles(
    tiles: Mapping[str, Detections] | str | Path, *, rule: str | MergeRule = "result_merge_multi_process"
) -> dict[str, Detections]:
    """Merge detections of tiles.

    Args:
        tiles: by class, the folder that holds ``Task1_<class>.txt`` files, or a JSON file
            (:mod:`fasttcm.evaluation.dota_json`); tiles are named ``<image>__<rate>__<x>___<y>``.
        rule: a key of :data:`MERGE_RULES` or a :class:`MergeRule`. The default is the script for large sets.

    Returns:
        Detections in whole images by class: images in order of first appearance, in an image by descending score.

    Raises:
        ConfigError: for an unknown rule.
        DataError: for a tile name that does not tell the place, or a file that cannot be read.
    """
    if isinstance(rule, str):
        if rule not in MERGE_RULES:
            raise ConfigError(f"unknown merge rule {rule!r}; known are {', '.join(MERGE_RULES)}")
        rule = MERGE_RULES[rule]
    if not isinstance(tiles, Mapping):
        from_json = Path(tiles).is_file()
        tiles = dota_detections_from_json(tiles) if from_json else read_task1(tiles, check_name=parse_tile_name)
    places = {name: parse_tile_name(name) for found in tiles.values() for name in found.images}
    return {label: _merge_class(found, places, rule) for label, found in tiles.items()}


def parse_tile_name(name: str) -> Tile:
    """Image, rate and offset of ``<image>__<rate>__<x>___<y>``; the image's name ends at the first ``__``.

    Raises:
        DataError: when a part is missing or the rate is no positive number.
    """
    rate, offset = _RATE.search(name), _OFFSET.search(name)
    try:
        factor = float(rate[1]) if rate else 0.0
    except ValueError:
        factor = 0.0
    if offset is None or factor <= 0:
        raise DataError(f"tile name {name!r}: expected <image>__<rate>__<x>___<y>, for example P0001__1.0__824___0")
    return Tile(name.split("__", 1)[0], factor, int(offset[1]), int(offset[2]))


def suppress(quads: FloatArray, scores: FloatArray, rule: MergeRule) -> npt.NDArray[np.int64]:
    """Let the highest score win among boxes that overlap by more than the rule's threshold.

    Args:
        quads: (n, 4, 2) pixels.
        scores: (n,); among equals the later box comes first.
        rule: threshold and comparison.

    Returns:
        Rows that stay, by descending score.
    """
    order = np.argsort(scores, kind="stable")[::-1]
    quads = np.asarray(quads, np.float64)[order]
    boxes, flat = outline_boxes(quads), signed_areas(quads) == 0
    alive = np.ones(len(order), bool)
    for start in range(0, len(order), BOXES_AT_ONCE):
        rows = start + np.flatnonzero(alive[start : start + BOXES_AT_ONCE])
        later = start + np.flatnonzero(alive[start:])
        compared = boxes_overlap(boxes[rows], boxes[later])
        if not rule.boxes_first:
            compared |= flat[rows][:, None] & flat[later]
        compared &= rows[:, None] < later
        i, j = compared.nonzero()
        # Not "> threshold": the NaN of two boxes without area does not pass the published "<= threshold".
        beaten = ~(polyiou(quads[rows[i]], quads[later[j]]) <= rule.threshold)
        i, j = i[beaten], j[beaten]
        for number, losers in zip(rows, np.split(later[j], np.searchsorted(i, np.arange(1, len(rows)))), strict=False):
            if alive[number]:
                alive[losers] = False
    return np.asarray(order[alive])


def _merge_class(found: Detections, places: Mapping[str, Tile], rule: MergeRule) -> Detections:
    """Move the boxes of one class into their images and suppress image by image."""
    tiles = [places[name] for name in found.images]
    offsets = np.array([(tile.x, tile.y) for tile in tiles], np.float64).reshape(-1, 1, 2)
    rates = np.array([tile.rate for tile in tiles], np.float64).reshape(-1, 1, 1)
    quads = (found.quads + offsets) / rates
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, tile in enumerate(tiles):
        rows_of[tile.image].append(row)
    kept: list[int] = []
    for rows in map(np.array, rows_of.values()):
        kept.extend(rows[suppress(quads[rows], found.scores[rows], rule)].tolist())
    return Detections([tiles[row].image for row in kept], quads[kept].reshape(-1, 4, 2), found.scores[kept])
