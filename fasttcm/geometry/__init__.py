"""Polygons and Bezier curves: pure functions on NumPy arrays and torch tensors.

Coordinates are (x, y) in pixels, x to the right and y downwards, so "clockwise" is clockwise as seen.
A text polygon runs clockwise from the top-left corner of the first character: the top side left to right,
then the bottom side right to left.
"""

from fasttcm.geometry.bezier import (
    bernstein_basis,
    bezier_points,
    beziers_to_polygons,
    fit_bezier,
    fit_text_bezier,
    fit_text_beziers,
    polygon_to_bezier,
    sample_sides,
)
from fasttcm.geometry.polygons import (
    clip_polygon_to_image,
    is_simple,
    polygon_area,
    polygon_box,
    polygon_perimeter,
    rasterize_polygons,
    shrink_polygon,
)
from fasttcm.geometry.polyiou import boxes_overlap, outline_boxes, polyiou, polyiou_matrix, signed_areas
from fasttcm.geometry.reading_order import order_text_polygon, split_sides
from fasttcm.geometry.text_lines import text_lines

__all__ = [
    "bernstein_basis",
    "bezier_points",
    "beziers_to_polygons",
    "boxes_overlap",
    "clip_polygon_to_image",
    "fit_bezier",
    "fit_text_bezier",
    "fit_text_beziers",
    "is_simple",
    "order_text_polygon",
    "outline_boxes",
    "polygon_area",
    "polygon_box",
    "polygon_perimeter",
    "polygon_to_bezier",
    "polyiou",
    "polyiou_matrix",
    "rasterize_polygons",
    "sample_sides",
    "shrink_polygon",
    "signed_areas",
    "split_sides",
    "text_lines",
]
