"""Reading the figures of the pixel-wise detectors (SPEC ``detectors`` section 12), and comparing with them."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from shapely.geometry import Polygon

from fasttcm.structures import TextTargets

MAP_TOLERANCE = 1e-4
END_TO_END_TOLERANCE = 1e-3
LOSS_TOLERANCE = 1e-4  # relative
LEAST_IOU = 0.999
SCORE_TOLERANCE = 1e-5

Figures = Mapping[str, np.ndarray]


def assert_close(figures: Figures, name: str, actual: torch.Tensor, tolerance: float = MAP_TOLERANCE) -> None:
    """A tensor, stored whole or as every ``step``-th element with shape and stats (mean, std, largest absolute value).

    Differences are allowed as a fraction of the standard deviation, or of a hundredth of the largest value for
    gradients, nearly all of whose entries are nothing.
    """
    values = actual.detach().double().numpy()
    if name in figures:
        expected = figures[name]
        std, largest = float(expected.std()), float(np.abs(expected).max(initial=0))
    else:
        expected = figures[f"{name}.sample"]
        assert values.shape == tuple(figures[f"{name}.shape"]), f"{name}: shape {values.shape}"
        _, std, largest = (float(v) for v in figures[f"{name}.stats"])
        scale = max(std, largest / 100)
        np.testing.assert_allclose(
            [values.mean(), values.std(), np.abs(values).max()],
            figures[f"{name}.stats"],
            rtol=tolerance,
            atol=2 * tolerance * scale,
            err_msg=f"{name} (stats)",
        )
        values = values.ravel()[:: int(figures[f"{name}.step"])]
    assert values.shape == expected.shape, f"{name}: shape {values.shape}, expected {expected.shape}"
    np.testing.assert_allclose(
        values, expected, rtol=0, atol=tolerance * (max(std, largest / 100) or 1.0), err_msg=name
    )


def polygons(figures: Figures, name: str) -> list[np.ndarray]:
    """The polygons (p_i, 2) stored under ``name.points`` and ``name.xy``."""
    points = figures[f"{name}.xy"].reshape(-1, 2)
    return np.split(points, np.cumsum(figures[f"{name}.points"])[:-1]) if len(points) else []


def scene(figures: Figures, name: str = "scene") -> TextTargets:
    """The annotation stored under ``name.kept`` and ``name.ignored``."""
    kept, ignored = polygons(figures, f"{name}.kept"), polygons(figures, f"{name}.ignored")
    count = len(kept) + len(ignored)
    return TextTargets(
        [*kept, *ignored],
        torch.zeros(count, 16),
        torch.zeros(count, 4),
        ["text"] * count,
        torch.tensor([False] * len(kept) + [True] * len(ignored), dtype=torch.bool),
        torch.zeros(count, dtype=torch.int64),
    )


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Of two outlines; of equal outlines without area 1."""
    a, b = Polygon(one).buffer(0), Polygon(other).buffer(0)
    union = a.union(b).area
    return a.intersection(b).area / union if union else float(np.array_equal(one, other))


def assert_same_outlines(figures: Figures, name: str, outlines: Sequence[np.ndarray], scores: Sequence[float]) -> None:
    """Every stored outline has one of the same shape and score, and there are no others."""
    expected = list(zip(polygons(figures, name), figures[f"{name}.scores"], strict=True))
    assert len(outlines) == len(scores) == len(expected), f"{name}: {len(outlines)} outlines, {len(expected)} stored"
    left = list(range(len(outlines)))
    for polygon, score in expected:
        best = max(left, key=lambda i: iou(polygon, outlines[i]))
        assert iou(polygon, outlines[best]) > LEAST_IOU, f"{name}: an outline is missing"
        assert abs(float(scores[best]) - float(score)) < SCORE_TOLERANCE, f"{name}: score"
        left.remove(best)
