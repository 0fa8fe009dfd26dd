"""Where a sign hangs and from where it is seen: a homography from the sign's plane into the image, and free space."""

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.curves import Strip

__all__ = ["Occupancy", "random_view", "translation", "warp_layer"]

FloatArray = npt.NDArray[np.floating]

YAW = (15.0, 55.0)
"""Degrees that an obliquely seen sign is turned about its upright axis."""

MAX_PITCH = 25.0
"""Degrees about its horizontal axis."""

FOCAL = (1.1, 2.5)
"""Focal length in diagonals of the sign: small gives strong foreshortening."""

CLEARANCE = 3
"""Pixels kept free around a placed sign."""


def translation(x: float, y: float) -> FloatArray:
    """3 x 3 matrix that shifts by (x, y)."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def random_view(
    rng: np.random.Generator, *, width: float, height: float, max_rotation: float, rotated: bool, oblique: bool
) -> FloatArray:
    """Homography of a plane, its centre at (width / 2, height / 2), onto an image plane with the centre at (0, 0).

    Args:
        rng: source of randomness.
        width: of the sign in pixels.
        height: of the sign in pixels.
        max_rotation: degrees in the image plane.
        rotated: turn it in the image plane.
        oblique: look at it from the side; otherwise the map is a rotation, hence affine.

    Returns:
        (3, 3) float64; the centre keeps its scale.
    """
    roll = np.deg2rad(rng.uniform(-max_rotation, max_rotation)) if rotated else 0.0
    yaw = np.deg2rad(rng.uniform(*YAW)) * rng.choice([-1, 1]) if oblique else 0.0
    pitch = np.deg2rad(rng.uniform(-MAX_PITCH, MAX_PITCH)) if oblique else 0.0
    focal = rng.uniform(*FOCAL) * float(np.hypot(width, height))
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    turn = about_z @ about_x @ about_y
    plane = np.stack([turn[:, 0], turn[:, 1], np.array([0, 0, focal])], 1)
    view = np.diag([focal, focal, 1.0]) @ plane @ translation(-width / 2, -height / 2)
    return view / view[2, 2] if abs(view[2, 2]) > 1e-9 else view


class Occupancy:
    """Which pixels of an image are taken by signs.

    Args:
        height: image height in pixels.
        width: image width in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self.taken = np.zeros((height, width), np.uint8)

    def find_place(
        self, rng: np.random.Generator, view: FloatArray, outline: FloatArray, strips: list[Strip], tries: int
    ) -> FloatArray | None:
        """Look for a shift of ``view`` that keeps every word inside the image and the outline off other signs.

        Args:
            rng: source of randomness.
            view: (3, 3) homography, up to a shift.
            outline: (4, 2) corners of the sign in its own pixels.
            strips: its words.
            tries: random positions to try.

        Returns:
            The shifted homography, or ``None`` when no place was found.
        """
        height, width = self.taken.shape
        words = np.concatenate([strip.mapped(view).polygon(13) for strip in strips])
        low, high = words.min(0), words.max(0)
        # 1 pixel of the image stays around every word, so that rounding keeps it inside.
        room = np.array([width, height]) - (high - low) - 2
        if (room < 0).any():
            return None
        quad = cv2.perspectiveTransform(outline[None].astype(np.float64), view)[0]
        for _ in range(tries):
            shift = 1 - low + rng.random(2) * room
            # Straight signs keep sharp, whole-pixel letters.
            shift = np.floor(shift)
            if not self._overlaps(quad + shift):
                return translation(*shift) @ view
        return None

    def _overlaps(self, quad: FloatArray) -> bool:
        x0, y0 = np.maximum(np.floor(quad.min(0)).astype(int) - CLEARANCE, 0)
        x1, y1 = np.ceil(quad.max(0)).astype(int) + CLEARANCE
        part = self.taken[y0:y1, x0:x1]
        if not part.any():
            return False
        mask = np.zeros(part.shape, np.uint8)
        cv2.fillConvexPoly(mask, np.round(quad - [x0, y0]).astype(np.int32), 1)
        grown = cv2.dilate(mask, np.ones((2 * CLEARANCE + 1,) * 2, np.uint8))
        return bool(part[grown > 0].any())

    def take(self, quad: FloatArray) -> None:
        """Mark a (4, 2) quadrilateral as taken."""
        cv2.fillConvexPoly(self.taken, np.round(quad).astype(np.int32), 1)


def warp_layer(
    layer: npt.NDArray[np.float32], view: FloatArray, height: int, width: int
) -> tuple[npt.NDArray[np.float32], int, int] | None:
    """Project a layer into an image.

    Args:
        layer: (h, w, c) float32.
        view: (3, 3) homography from layer to image, both in continuous coordinates (pixel i covers [i, i + 1)).
        height: image height in pixels.
        width: image width in pixels.

    Returns:
        (part, x, y): the visible part (h', w', c) and the image position of its top-left pixel; ``None`` when nothing
        of it is visible.
    """
    h, w = layer.shape[:2]
    corners = cv2.perspectiveTransform(np.array([[[0, 0], [w, 0], [w, h], [0, h]]], np.float64), view)[0]
    x0, y0 = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(corners.max(0)).astype(int), [width, height])
    if x1 <= x0 or y1 <= y0:
        return None
    # OpenCV puts whole numbers at pixel centres.
    centred = translation(-0.5 - x0, -0.5 - y0) @ view @ translation(0.5, 0.5)
    part = cv2.warpPerspective(layer, centred, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)
    return np.asarray(part, np.float32), int(x0), int(y0)
