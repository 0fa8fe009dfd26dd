"""Reading the figures of the pixel-wise detectors (SPEC ``detectors`` section 12), and comparing with them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from shapely.geometry import Polygon

from fasttcm.structures import TextTargets

MAP_TOLERANCE = 1e-4
END_TO_END_TOLERANCE = 1e-3
GRADIENT_TOLERANCE = 5e-3
"""Of gradients end to end: an activation within rounding of zero passes its gradient on one processor and not on
another, which moves a filter of the stem by 2.7e-3 (our float32 and float64 agree to 1e-4 there)."""
LOSS_TOLERANCE = 1e-4  # relative
LEAST_IOU = 0.999
SCORE_TOLERANCE = 1e-5

Figures = Mapping[str, np.ndarray]


def stored_shape(figures: Figures, name: str) -> tuple[int, ...]:
    """Shape of a tensor, however it is stored."""
    return figures[name].shape if name in figures else tuple(int(n) for n in figures[f"{name}.shape"])


def class_texts(figures: Figures) -> list[str]:
    """The phrases whose token ids (start, words, end, padding) are stored under ``texts``."""
    tokenizer = SimpleTokenizer()
    special = {0, tokenizer.sot_token_id, tokenizer.eot_token_id}
    return [tokenizer.decode([n for n in row if n not in special]).strip() for row in figures["texts"].tolist()]


def assert_losses(figures: Figures, losses: Mapping[str, torch.Tensor], tolerance: float = LOSS_TOLERANCE) -> None:
    """Losses by the names of their figures; of one that is exactly nothing, rounding may be left."""
    for name, value in losses.items():
        expected = float(figures[name])
        assert abs(value.item() - expected) <= tolerance * abs(expected) + 1e-7, f"{name}: {value.item()}, {expected}"


def assert_gradients(figures: Figures, parameters: Mapping[str, torch.Tensor], rename: Callable[[str], str]) -> None:
    """Every gradient stored under ``grad.<published name>``, of the parameter that ``rename`` makes of that name."""
    names = {key.removeprefix("grad.").removesuffix(".sample") for key in figures if key.startswith("grad.")}
    for name in (n for n in names if not n.endswith((".shape", ".step", ".stats"))):
        assert_close(figures, f"grad.{name}", parameters[rename(name)].grad, GRADIENT_TOLERANCE)


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
        scale = max(std, largest / 100) or 1.0
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
