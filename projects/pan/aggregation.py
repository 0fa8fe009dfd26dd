"""Pixel aggregation: kernels grow over text pixels that look like them, layer by layer (PAN, section 3.4).

The published rule is a queue: kernel border pixels in row-major order, each handing its label to its four neighbours
(left, right, up, down) that are text, unlabelled, and near enough in similarity; those join the queue. A first-in,
first-out queue works off whole layers, and whether a pixel may join a label does not depend on the others; so a layer
can be done at once: every wanted pixel goes to the first that asked, and the next layer is in the order of asking.
"""

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["grow_kernels"]

FloatMap = npt.NDArray[np.floating]
BoolMap = npt.NDArray[np.bool_]
LabelMap = npt.NDArray[np.int32]


def grow_kernels(text: BoolMap, kernel: BoolMap, embedding: FloatMap, *, max_distance: float) -> LabelMap:
    """Assign text pixels to kernels.

    Args:
        text: (h, w) where there is text.
        kernel: (h, w) where there is a kernel; only its pixels on text count. Kernels are 4-connected regions.
        embedding: (E, h, w) similarity vectors.
        max_distance: a pixel joins when its vector is less than this away from the mean vector of the kernel.

    Returns:
        (h, w) label of every pixel, from 1 in the order of ``cv2.connectedComponents``; 0 for none.
    """
    height, width = text.shape
    kernel = kernel & text
    if not kernel.any():
        return np.zeros((height, width), np.int32)
    components, labels = cv2.connectedComponents(kernel.astype(np.uint8), connectivity=4)
    # A frame of one pixel around the picture, so that every pixel has four neighbours.
    stride = width + 2
    framed = np.zeros((height + 2, stride), np.int32)
    framed[1:-1, 1:-1] = labels
    grown = framed.ravel()
    free = np.zeros((height + 2, stride), bool)
    free[1:-1, 1:-1] = text & ~kernel
    free = free.ravel()
    vectors = np.zeros((len(embedding), height + 2, stride), np.float64)
    vectors[:, 1:-1, 1:-1] = embedding
    vectors = vectors.reshape(len(embedding), -1)
    means = _means(vectors, grown, components)
    limit = max_distance**2
    steps = np.asarray([-1, 1, -stride, stride])
    pixels = _border(kernel, stride)
    owner = np.empty(len(grown), np.int64)
    while len(pixels):
        wanted = (pixels[:, None] + steps).ravel()
        asked_by = np.repeat(grown[pixels], 4)
        asking = np.flatnonzero(free[wanted])
        wanted, asked_by = wanted[asking], asked_by[asking]
        gap = vectors[:, wanted] - means[:, asked_by]
        near = (gap * gap).sum(0) < limit
        wanted, asked_by = wanted[near], asked_by[near]
        order = np.arange(len(wanted))
        owner[wanted[::-1]] = order[::-1]  # of several writers the last one stays: here the first to ask
        first = owner[wanted] == order
        pixels = wanted[first]
        grown[pixels] = asked_by[first]
        free[pixels] = False
    return framed[1:-1, 1:-1]


def _means(vectors: FloatMap, labels: LabelMap, components: int) -> FloatMap:
    """(E, components) mean vector over every label; that of label 0 is not meaningful."""
    on_kernel = np.flatnonzero(labels)
    owners = labels[on_kernel]
    counts = np.maximum(np.bincount(owners, minlength=components), 1)
    return np.stack([np.bincount(owners, row[on_kernel], components) for row in vectors]) / counts


def _border(kernel: BoolMap, stride: int) -> npt.NDArray[np.int64]:
    """Where the queue starts: border pixels of the kernels in row-major order, as places in the framed map."""
    mask = kernel.astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    border = np.zeros_like(mask)
    cv2.drawContours(border, contours, -1, 1)
    rows, columns = np.nonzero(border & mask)
    return (rows + 1) * stride + columns + 1
