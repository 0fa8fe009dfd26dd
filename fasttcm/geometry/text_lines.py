"""Words gathered into lines and blocks, so that what was found in a picture can be copied as text."""

import numpy as np
import numpy.typing as npt

__all__ = ["text_lines"]

FloatArray = npt.NDArray[np.float64]

COMMON_HEIGHT = 0.5
"""Words of one line share at least this part of the taller one's height ..."""

WIDEST_GAP = 2.0
"""... and stand at most this many of its heights apart."""

WIDEST_LEADING = 1.0
"""Lines of one block stand at most this many heights of the lower one's words, or the upper one's if smaller, apart."""


def text_lines(boxes: npt.ArrayLike) -> list[list[int]]:
    """The order in which a person would read the words of a picture: sign by sign, line by line.

    From left to right each word goes on the line whose last word shares most height with it, see
    :data:`COMMON_HEIGHT` and :data:`WIDEST_GAP`: a slanted line is followed, and words of very different sizes stay
    apart. From top to bottom each line then goes into the block whose last line it stands below, see
    :data:`WIDEST_LEADING`, so that the lines of two signs side by side do not alternate.

    Args:
        boxes: (n, 4) pixels, x0 y0 x1 y1.

    Returns:
        Indices into ``boxes``, each once: lines of words from left to right. Blocks go from top to bottom by the top of
        their first line, the lines of a block by their centres.
    """
    rows = np.asarray(boxes, np.float64).reshape(-1, 4)
    lines: list[list[int]] = []
    for index in np.argsort(rows[:, 0], kind="stable").tolist():
        shares = [_common_height(rows[line[-1]], rows[index]) for line in lines]
        best = int(np.argmax(shares)) if shares else -1
        if best >= 0 and shares[best] >= COMMON_HEIGHT:
            lines[best].append(index)
        else:
            lines.append([index])
    blocks: list[list[list[int]]] = []
    for line in sorted(lines, key=lambda line: float(rows[line][:, 1::2].mean())):
        widths = [_common_width(rows[block[-1]], rows[line]) for block in blocks]
        best = int(np.argmax(widths)) if widths else -1
        if best >= 0 and widths[best] > 0:
            blocks[best].append(line)
        else:
            blocks.append([line])
    blocks.sort(key=lambda block: float(rows[block[0]][:, 1].mean()))
    return [line for block in blocks for line in block]


def _common_height(left: FloatArray, right: FloatArray) -> float:
    """Common part of the heights over the taller one's; 0 when the gap between the words is too wide."""
    taller = max(left[3] - left[1], right[3] - right[1])
    if taller <= 0 or right[0] - left[2] > WIDEST_GAP * taller:
        return 0.0
    return float(max(0.0, min(left[3], right[3]) - max(left[1], right[1])) / taller)


def _common_width(upper: FloatArray, lower: FloatArray) -> float:
    """Common extent in pixels of two lines of words, (k, 4) and (l, 4); 0 when they stand too far apart."""
    smaller = min(float((words[:, 3] - words[:, 1]).mean()) for words in (upper, lower))
    if lower[:, 1].min() - upper[:, 3].max() > WIDEST_LEADING * smaller:
        return 0.0
    return float(min(upper[:, 2].max(), lower[:, 2].max()) - max(upper[:, 0].min(), lower[:, 0].min()))
