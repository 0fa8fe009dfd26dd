"""The evaluation rules read plainly, one pair and one word after the other: what our evaluation is timed against.

Each function is the shortest honest reading of its rule, with shapely and rapidfuzz where the published scripts use a
compiled routine too. What does not take time (which word is don't care, which text is right) is shared.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from rapidfuzz.distance import Levenshtein
from shapely.geometry import Polygon

from fasttcm.evaluation import PROTOCOLS
from fasttcm.evaluation.detection_protocol import MMOCR_SWEEP
from fasttcm.evaluation.text_rules import is_dont_care, is_right, reference_text

__all__ = ["curve_script", "lexicon_search", "merge", "mmocr_sweep", "polyiou", "quad_iou", "weighted_distance"]

Words = Sequence[Mapping[str, Any]]
Images = Sequence[tuple[Words, Words]]
FLAT = 1e-8


def lexicon_search(text: str, entries: Sequence[str]) -> str | None:
    """AdelaiDet's rule: the first entry of the smallest distance, accepted below 1.5."""
    best, word = 100, None
    for entry in entries:
        distance = Levenshtein.distance(text.upper(), entry.upper())
        if distance < best:
            best, word = distance, entry
    return word if best < 1.5 else None


def weighted_distance(read: str, entry: str, scores: np.ndarray, class_of: Mapping[str, int]) -> float:
    """TESTR's distance: one table, both texts in upper case."""

    def score(position: int, character: str) -> np.float32:
        return max(scores[position, class_of[character]], scores[position, class_of[character.lower()]])

    own = [score(position, character) for position, character in enumerate(read)]
    table = np.zeros((len(entry) + 1, len(read) + 1), np.float32)
    table[0], table[:, 0] = range(len(read) + 1), range(len(entry) + 1)
    for i in range(1, len(entry) + 1):
        for j in range(1, len(read) + 1):
            insertion = float(own[j - 1] + own[j]) / 2 if j < len(read) else float(own[j - 1])
            replacement = 0.0
            if read[j - 1] != entry[i - 1]:
                replacement = max(1 - 5 * float(score(j - 1, entry[i - 1]) / own[j - 1]), 0)
            table[i, j] = min(
                float(table[i - 1, j]) + insertion,
                float(table[i, j - 1]) + float(own[j - 1]),
                float(table[i - 1, j - 1]) + replacement,
            )
    return float(table[-1, -1])


def _rates(matched: int, wanted: int, found: int) -> tuple[float, float, float]:
    """Precision, recall and their harmonic mean."""
    recall, precision = matched / wanted if wanted else 0.0, matched / found if found else 0.0
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


def _greedy(iou: np.ndarray, covered: np.ndarray, dont_care: Sequence[bool]) -> tuple[list[tuple[int, int]], list[int]]:
    """Matched pairs and don't-care detections."""
    out = [d for d in range(iou.shape[1]) if any(covered[g, d] > 0.5 for g in range(len(iou)) if dont_care[g])]
    used, pairs = set(out), []
    for g in range(len(iou)):
        for d in range(iou.shape[1]):
            if not dont_care[g] and d not in used and iou[g, d] > 0.5:
                pairs.append((g, d))
                used.add(d)
                break
    return pairs, out


def curve_script(images: Images) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Total-Text rules: figures of the detection pass and of the end-to-end pass."""
    rules = PROTOCOLS["totaltext"]
    counts = np.zeros((2, 3), int)
    for words, found in images:
        outlines = [np.asarray(word["points"], np.float32).astype(float) for word in words]
        boxes = [np.asarray(word["points"], np.float32).astype(float) for word in found]
        shapes, others = ([_evenodd(p) for p in side] for side in (outlines, boxes))
        areas, other_areas = ([_shoelace(p) for p in side] for side in (outlines, boxes))
        iou, covered = np.zeros((len(shapes), len(others))), np.zeros((len(shapes), len(others)))
        for g, shape in enumerate(shapes):
            for d, other in enumerate(others):
                common = shape.intersection(other).area
                union = areas[g] + other_areas[d] - common
                iou[g, d] = common / union if union else 0.0
                covered[g, d] = common / other_areas[d] if other_areas[d] else 0.0
        references = [reference_text(word["text"], rules) for word in words]
        for number, end_to_end in enumerate((False, True)):
            dont_care = [is_dont_care(word["text"], rules, end_to_end=end_to_end) for word in words]
            pairs, out = _greedy(iou, covered, dont_care)
            right = [not end_to_end or is_right(references[g], found[d]["text"], rules) for g, d in pairs]
            counts[number] += sum(right), dont_care.count(False), len(found) - len(out)
    return _rates(*counts[0].tolist()), _rates(*counts[1].tolist())


def _evenodd(points: np.ndarray) -> shapely.Geometry:
    shape = Polygon(points)
    return shape if shape.is_valid else shapely.make_valid(shape)


def _shoelace(points: np.ndarray) -> float:
    x, y = points.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def mmocr_sweep(images: Images) -> tuple[float, float, float]:
    """Hmean-iou of mmocr: the best figures over its score thresholds."""
    best = (0.0, 0.0, -1.0)
    for threshold in MMOCR_SWEEP:
        matched = wanted = counted = 0
        for words, found in images:
            kept = [Polygon(word["points"]) for word in found if word["score"] > 0.3 and word["score"] >= threshold]
            shapes = [Polygon(word["points"]) for word in words]
            dont_care = [word["text"] == "###" for word in words]
            iou, covered = np.zeros((len(shapes), len(kept))), np.zeros((len(shapes), len(kept)))
            for g, shape in enumerate(shapes):
                for d, other in enumerate(kept):
                    iou[g, d], common = _repaired_iou(shape, other)
                    covered[g, d] = common / other.area if other.area else 0.0
            pairs, out = _greedy(iou, covered, dont_care)
            matched += len(pairs)
            wanted += dont_care.count(False)
            counted += len(kept) - len(out)
        figures = _rates(matched, wanted, counted)
        best = figures if figures[2] > best[2] else best
    return best


def _repaired_iou(first: Polygon, second: Polygon) -> tuple[float, float]:
    """IoU and area in common, outlines that cross themselves repaired by ``buffer(0)``."""
    first = first if first.is_valid else first.buffer(0)
    second = second if second.is_valid else second.buffer(0)
    common, union = first.intersection(second).area, first.union(second).area
    return common / union if union else 0.0, common


def merge(quads: np.ndarray, scores: np.ndarray, threshold: float, *, boxes_first: bool) -> list[int]:
    """DOTA's suppression box by box; convex boxes, so shapely's area is the published overlap."""
    shapes = [Polygon(quad) for quad in quads]
    bounds = [shape.bounds for shape in shapes]
    order, kept = list(np.argsort(scores)[::-1]), []
    while order:
        best = order.pop(0)
        kept.append(int(best))
        x0, y0, x1, y1 = bounds[best]
        left = []
        for other in order:
            u0, v0, u1, v1 = bounds[other]
            near = max(0, min(x1, u1) - max(x0, u0)) * max(0, min(y1, v1) - max(y0, v0)) > 0
            if (boxes_first and not near) or quad_iou(shapes[best], shapes[other]) <= threshold:
                left.append(other)
        order = left
    return kept


def quad_iou(first: Polygon, second: Polygon) -> float:
    """IoU of two convex quadrilaterals."""
    common = first.intersection(second).area
    return common / (first.area + second.area - common)


def polyiou(first: Sequence[tuple[float, float]], second: Sequence[tuple[float, float]]) -> float:
    """DOTA's signed IoU: triangles from the image's origin, clipped one by one."""
    areas = [_signed(first), _signed(second)]
    first, second = (list(q)[::-1] if area < 0 else list(q) for q, area in zip((first, second), areas, strict=True))
    common = 0.0
    for i in range(len(first)):
        for j in range(len(second)):
            common += _triangles(first[i], first[(i + 1) % len(first)], second[j], second[(j + 1) % len(second)])
    union = abs(areas[0]) + abs(areas[1]) - common
    return common / union if union else math.nan


def _signed(ring: Sequence[tuple[float, float]]) -> float:
    return sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(ring, [*ring[1:], ring[0]], strict=True)) / 2


def _triangles(a: tuple, b: tuple, c: tuple, d: tuple) -> float:
    """Signed area common to the triangles (origin, a, b) and (origin, c, d)."""
    origin = (0.0, 0.0)
    one, two = a[0] * b[1] - a[1] * b[0], c[0] * d[1] - c[1] * d[0]
    if abs(one) <= FLAT or abs(two) <= FLAT:
        return 0.0
    a, b = (b, a) if one < 0 else (a, b)
    c, d = (d, c) if two < 0 else (c, d)
    ring = [origin, a, b]
    for start, end in ((origin, c), (c, d), (d, origin)):
        ring = _cut(ring, start, end)
    return math.copysign(abs(_signed(ring)), one * two) if len(ring) > 2 else 0.0


def _cut(ring: list[tuple], start: tuple, end: tuple) -> list[tuple]:
    """The part of a convex ring on the positive side of a line (Sutherland and Hodgman)."""
    kept = []
    sides = [(end[0] - start[0]) * (p[1] - start[1]) - (end[1] - start[1]) * (p[0] - start[0]) for p in ring]
    signs = [0 if abs(side) <= FLAT else math.copysign(1, side) for side in sides]
    for i, p in enumerate(ring):
        j = (i + 1) % len(ring)
        if signs[i] >= 0:
            kept.append(p)
        if signs[i] * signs[j] < 0:
            t = sides[i] / (sides[i] - sides[j])
            kept.append((p[0] + t * (ring[j][0] - p[0]), p[1] + t * (ring[j][1] - p[1])))
    return kept
