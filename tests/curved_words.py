"""Random words for tests: ribbons along an arc, in reading order."""

import numpy as np


def ribbon(
    *, aspect: float, bend: float, tilt: float, top: int = 7, bottom: int = 7, height: float = 40.0, slant: float = 0.0
) -> np.ndarray:
    """A word along a circular arc, as an annotator marks it.

    Args:
        aspect: length of the centre line over the height.
        bend: angle of the arc in radians; positive is closed below (an arch).
        tilt: angle of its chord in radians, clockwise as seen.
        top: points of the top side.
        bottom: points of the bottom side.
        height: of the letters in pixels.
        slant: how far the bottom side is shifted along the word, in heights.

    Returns:
        (top + bottom, 2) pixels, clockwise from the first character's top-left corner.
    """

    def side(count: int, offset: float, shift: float) -> np.ndarray:
        along = (np.linspace(-0.5, 0.5, count) * aspect) + shift
        if abs(bend) < 1e-9:
            return np.stack([along, np.full(count, offset)], axis=1)
        radius, angle = aspect / bend, along * bend / aspect
        return np.stack([(radius - offset) * np.sin(angle), radius - (radius - offset) * np.cos(angle)], axis=1)

    ring = np.concatenate([side(top, -0.5, 0.0), side(bottom, 0.5, -slant)[::-1]])
    cosine, sine = np.cos(tilt), np.sin(tilt)
    return height * ring @ np.array([[cosine, sine], [-sine, cosine]]) + 500.0
