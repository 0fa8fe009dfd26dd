"""Cutting aerial pictures into overlapping tiles (SPEC ``oriented`` section 2).

A tile is called ``<scene>__1__<x>___<y>``: scale and place, from which ``fasttcm score`` brings its detections back
into the scene.
"""

import numpy as np
import numpy.typing as npt
import shapely

from fasttcm.structures import FloatArray

__all__ = ["PADDING", "cut_tile", "objects_in_tiles", "tile_name", "tile_windows"]

PADDING = (124, 116, 104)
"""RGB of a tile outside its picture."""

MIN_FILLED = 0.6
"""Share of a tile that the picture has to cover (more than this), unless no tile has as much."""

FILLED_TOLERANCE = 0.01
"""Where no tile is covered enough, those within this of the best are kept."""

MIN_INSIDE = 0.7
"""Share of an object's area that has to lie in a tile."""

SMALLEST_AREA = 1e-6
"""Square pixels; denominators are at least this."""


def tile_windows(width: int, height: int, *, size: int, overlap: int) -> npt.NDArray[np.int64]:
    """Where the tiles of a picture lie.

    Args:
        width: of the picture in pixels.
        height: likewise.
        size: side of a tile.
        overlap: pixels that neighbours share, less than ``size``; the last tile of a row shares more.

    Returns:
        (n, 4) x0 y0 x1 y1, column by column; a tile of a small picture reaches beyond its border.
    """
    lefts, tops = (_starts(length, size, size - overlap) for length in (width, height))
    corners = np.array([(x, y) for x in lefts for y in tops], np.int64)
    windows = np.concatenate([corners, corners + size], axis=1)
    inside = np.minimum(windows[:, 2:], (width, height)) - windows[:, :2]
    filled = inside.prod(1) / size**2
    enough = filled > MIN_FILLED
    return windows[enough if enough.any() else filled >= filled.max() - FILLED_TOLERANCE]


def objects_in_tiles(
    quads: FloatArray, windows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which objects belong to which tiles, and which of them a tile cuts.

    Args:
        quads: (n, p, 2) outlines; one that crosses itself is repaired.
        windows: (m, 4) x0 y0 x1 y1.

    Returns:
        (n, m) whether :data:`MIN_INSIDE` of the object's area lies in the tile, and (n, m) whether that share is below
        1. As published the whole area is rounded to single precision before the division, so that about half of the
        objects that lie wholly in a tile count as cut, too.
    """
    outlines = shapely.polygons(np.asarray(quads, np.float64))
    broken = ~shapely.is_valid(outlines)
    outlines[broken] = shapely.make_valid(outlines[broken])
    boxes = shapely.box(*np.asarray(windows, np.float64).T)
    bounds = shapely.bounds(outlines)[:, None]
    meet = (bounds[..., :2] < windows[:, 2:]).all(-1) & (bounds[..., 2:] > windows[:, :2]).all(-1)
    rows, columns = np.nonzero(meet)
    areas = np.maximum(shapely.area(outlines).astype(np.float32), np.float32(SMALLEST_AREA)).astype(np.float64)
    shares = np.zeros((len(outlines), len(windows)))
    shares[rows, columns] = shapely.area(shapely.intersection(outlines[rows], boxes[columns])) / areas[rows]
    return shares >= MIN_INSIDE, shares < 1


def cut_tile(pixels: npt.NDArray[np.uint8], window: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """One tile of a (H, W, 3) RGB picture, filled up with :data:`PADDING` where the picture ends."""
    x0, y0, x1, y1 = (int(value) for value in window)
    part = pixels[y0:y1, x0:x1]
    if part.shape[:2] == (y1 - y0, x1 - x0):
        return part
    tile = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
    tile[:] = PADDING
    tile[: part.shape[0], : part.shape[1]] = part
    return tile


def tile_name(scene: str, window: npt.NDArray[np.int64]) -> str:
    """The name of a tile of an unscaled picture, without suffix."""
    return f"{scene}__1__{int(window[0])}___{int(window[1])}"


def _starts(length: int, size: int, step: int) -> list[int]:
    """Where the tiles along one axis begin."""
    if length <= size:
        return [0]
    count = -(-(length - size) // step) + 1
    starts = [step * i for i in range(count)]
    if starts[-1] + size > length:
        starts[-1] = length - size
    return starts
