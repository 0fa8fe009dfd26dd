"""Overlaps of ground truths and detections in the three arithmetics of detection-only protocols.

On simple polygons they agree; they part where an outline crosses itself (SPEC ``evaluation`` section 2): ``even_odd``
clips with the even-odd rule and subtracts for the union, ``repaired`` replaces a broken outline by its ``buffer(0)``
(of a bow-tie the larger lobe), ``valid_only`` wants none. The latter two take shapely's own union where its last
digit can matter. Only pairs whose bounding boxes overlap are clipped; nothing is rounded, so an IoU of exactly one
half stays one half.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from fasttcm.evaluation.detection_protocol import Arithmetic
from fasttcm.evaluation.polygons import Regions, build_shapes, coverage, intersection_areas, iou_matrix

__all__ = ["Overlaps", "measure_overlaps", "prepare_regions"]

FloatArray = npt.NDArray[np.floating]

CLOSE = 1e-6
"""Distance from the match threshold at which the way of computing an IoU begins to matter, with a wide margin."""


@dataclass(frozen=True)
class Overlaps:
    """n ground truths against m detections.

    Attributes:
        iou: (n, m) float64 intersection over union.
        recall: (n, m) float64 share of the ground truth inside the detection, 0 without area.
        precision: (n, m) float64 share of the detection inside the ground truth, 0 without area.
    """

    iou: FloatArray
    recall: FloatArray
    precision: FloatArray

    def of(self, columns: npt.NDArray[np.intp]) -> "Overlaps":
        """The same for some of the detections."""
        return Overlaps(self.iou[:, columns], self.recall[:, columns], self.precision[:, columns])


def measure_overlaps(
    first: Regions, second: Regions, arithmetic: Arithmetic, *, iou_threshold: float | None = None
) -> Overlaps:
    """Measure every pair of one image.

    Args:
        first: n ground truths, from :func:`prepare_regions`.
        second: m detections, likewise.
        arithmetic: see the module.
        iou_threshold: what the IoU will be compared with: near it, every digit is as published. ``None``: with
            nothing, as in protocols that match by shares.
    """
    common = intersection_areas(first, second)
    if arithmetic == "even_odd":
        iou = iou_matrix(first, second, common)
    else:
        iou = _shapely_iou(first, second, common, iou_threshold)
    return Overlaps(iou, coverage(common.T, first.areas).T, coverage(common, second.areas))


def prepare_regions(polygons: Sequence[FloatArray], arithmetic: Arithmetic) -> Regions:
    """Shapes for clipping and the areas of the outlines as they were given.

    Args:
        polygons: n arrays (p_i, 2) of pixels.
        arithmetic: see the module; for ``valid_only`` every outline has to be valid.
    """
    if arithmetic == "even_odd":
        return Regions.of(polygons)
    shapes = build_shapes([np.asarray(p, np.float64).reshape(-1, 2) for p in polygons])
    areas = shapely.area(shapes)
    broken = ~shapely.is_valid(shapes)
    if broken.any():
        shapes[broken] = shapely.buffer(shapes[broken], 0)
    return Regions(shapes, areas, shapely.bounds(shapes).reshape(-1, 4))


def _shapely_iou(first: Regions, second: Regions, common: FloatArray, threshold: float | None) -> FloatArray:
    """(n, m) intersection over union, with shapely's own union where its last digits could decide about a match.

    Elsewhere the union is a subtraction, which costs nothing and differs from it by rounding only.
    """
    iou = np.zeros_like(common)
    rows, columns = common.nonzero()
    if len(rows):
        inter = common[rows, columns]
        union = shapely.area(first.shapes)[rows] + shapely.area(second.shapes)[columns] - inter
        if threshold is not None:
            close = np.abs(inter / union - threshold) < CLOSE
            union[close] = shapely.area(shapely.union(first.shapes[rows[close]], second.shapes[columns[close]]))
        iou[rows, columns] = inter / union
    return iou
