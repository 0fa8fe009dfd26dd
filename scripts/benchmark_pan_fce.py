"""PAN's and FCENet's post-processing against a plain reading of its rules, on maps of pictures full of words.

    python scripts/benchmark_pan_fce.py --words 100

The plain forms are the shortest honest reading of SPEC ``detectors`` section 6: a queue of pixels for PAN, one contour
and one pair of polygons after the other for FCENet. Both forms must find the same. Time is the process's CPU time with
one thread; alternatives are timed in turn and the table gives medians.
"""

import argparse
import statistics
import time
from collections import deque
from collections.abc import Callable

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from shapely.geometry import Polygon

from fasttcm.projects.fcenet.postprocess import FCEPostprocessor, fill_holes
from fasttcm.projects.fcenet.targets import FCETargetMaker
from fasttcm.projects.pan.postprocess import PANPostprocessor
from fasttcm.projects.pan.targets import PANTargetMaker, shrink_map
from fasttcm.structures import TextTargets

__all__ = ["fce_maps", "pan_maps", "plain_fce", "plain_pan", "rows", "words"]

SIZE = (736, 1312)
"""A 16:9 picture at PAN's test scale (1333, 736), rounded to 32."""
STRIDES = (8, 16, 32)


def words(count: int, size: tuple[int, int], seed: int = 0) -> TextTargets:
    """``count`` slightly turned words in a grid that fills the picture."""
    rng = np.random.default_rng(seed)
    columns = int(np.ceil(np.sqrt(count * size[1] / size[0] / 3)))
    lines = -(-count // columns)
    cell = np.asarray([size[1] / columns, size[0] / lines])
    polygons = []
    for i in range(count):
        centre = (np.asarray([i % columns, i // columns]) + 0.5) * cell
        half = cell * rng.uniform([0.3, 0.2], [0.42, 0.3])
        angle = rng.uniform(-0.1, 0.1)
        turn = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corners = np.asarray([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        polygons.append((corners @ turn.T + centre).astype(np.float32))
    return TextTargets(
        polygons,
        torch.zeros(count, 16),
        torch.zeros(count, 4),
        ["word"] * count,
        torch.zeros(count, dtype=torch.bool),
        torch.zeros(count, dtype=torch.int64),
    )


def pan_maps(targets: TextTargets, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(6, h, w) maps of a well-trained PAN: its targets with noise, one similarity vector a word."""
    rng = np.random.default_rng(seed)
    (text, kernel), _ = PANTargetMaker().draw(targets, size)
    text, kernel = shrink_map(text), shrink_map(kernel)
    vectors = rng.normal(0, 3, (len(targets) + 1, 4))[text].transpose(2, 0, 1) + rng.normal(0, 0.15, (4, *text.shape))
    logits = np.stack([np.where(text > 0, 4.0, -4.0), np.where(kernel > 0, 4.0, -4.0)])
    return np.concatenate([logits + rng.normal(0, 0.5, logits.shape), vectors]).astype(np.float32)


def fce_maps(targets: TextTargets, size: tuple[int, int], seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Logits and series of three levels of a well-trained FCENet: its targets with noise."""
    rng = np.random.default_rng(seed)
    maker = FCETargetMaker()
    logits, series = [], []
    for stride, limits in zip(STRIDES, maker.ranges, strict=True):
        maps = maker.draw(targets, size, stride, limits)
        signs = np.stack([-maps[0], maps[0], -maps[1], maps[1]]) * 6 + np.asarray([3, -3, 3, -3])[:, None, None]
        logits.append((signs + rng.normal(0, 0.3, signs.shape)).astype(np.float32))
        series.append((maps[3:] + rng.normal(0, 0.02, maps[3:].shape)).astype(np.float32))
    return logits, series


def plain_pan(maps: np.ndarray, *, threshold: float = 0.85, min_area: int = 16) -> tuple[list[np.ndarray], list[float]]:
    """PAN's rule with a queue; quadrilaterals."""
    probability = 1 / (1 + np.exp(-maps[:2]))
    text = probability[0] > 0.5
    kernel = (probability[1] > 0.5) & text
    mask = kernel.astype(np.uint8)
    count, labels = cv2.connectedComponents(mask, connectivity=4)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    border = cv2.drawContours(np.zeros_like(mask), contours, -1, 255)
    embedding = maps[2:].transpose(1, 2, 0)
    means = [None, *(embedding[labels == label].mean(0) for label in range(1, count))]
    height, width = text.shape
    queue = deque(
        (y, x, labels[y, x]) for y in range(height) for x in range(width) if border[y, x] and labels[y, x] > 0
    )
    while queue:
        y, x, label = queue.popleft()
        for other_y, other_x in ((y, x - 1), (y, x + 1), (y - 1, x), (y + 1, x)):
            if not (0 <= other_y < height and 0 <= other_x < width):
                continue
            if labels[other_y, other_x] > 0 or not text[other_y, other_x]:
                continue
            gap = embedding[other_y, other_x] - means[label]
            if float((gap * gap).sum()) < threshold**2:
                labels[other_y, other_x] = label
                queue.append((other_y, other_x, label))
    outlines, scores = [], []
    for label in range(1, count):
        points = np.argwhere(labels == label)
        score = float(probability[0][labels == label].mean())
        if len(points) >= min_area and score > threshold:
            outlines.append(cv2.boxPoints(cv2.minAreaRect(points[:, ::-1].astype(np.int32))))
            scores.append(score)
    return outlines, scores


def _plain_iou(one: np.ndarray, other: np.ndarray) -> float:
    a, b = Polygon(one), Polygon(other)
    a, b = (shape if shape.is_valid else shape.buffer(0) for shape in (a, b))
    union = a.union(b).area
    return a.intersection(b).area / union if union else 1.0


def _plain_nms(found: list[tuple[np.ndarray, float]], threshold: float = 0.1) -> list[tuple[np.ndarray, float]]:
    left = sorted(found, key=lambda item: item[1])
    kept = []
    while left:
        best = left.pop()
        kept.append(best)
        left = [item for item in left if not _plain_iou(best[0], item[0]) > threshold]
    return kept


def plain_fce(
    logits: list[np.ndarray], series: list[np.ndarray], *, alpha: float = 1.2, beta: float = 1.0
) -> list[tuple[np.ndarray, float]]:
    """FCENet's rule, one contour and one pair of polygons after the other."""
    everything = []
    for level, numbers, stride in zip(logits, series, STRIDES, strict=True):
        exponentials = np.exp(level)
        score = (exponentials[1] / (exponentials[0] + exponentials[1])) ** alpha
        score = score * (exponentials[3] / (exponentials[2] + exponentials[3])) ** beta
        contours, _ = cv2.findContours(
            fill_holes((score > 0.3).astype(np.uint8)), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE
        )
        of_level = []
        for contour in contours:
            region = cv2.drawContours(np.zeros(score.shape, np.uint8), [contour], -1, 1, -1)
            half = len(numbers) // 2
            found = []
            for y, x in np.argwhere(region * score > 0):
                c = numbers[:half, y, x] + 1j * numbers[half:, y, x]
                c[half // 2] += x + 1j * y
                spectrum = np.zeros(50, complex)
                spectrum[: half // 2 + 1], spectrum[-(half // 2) :] = c[half // 2 :] * stride, c[: half // 2] * stride
                points = np.fft.ifft(spectrum) * 50
                found.append((np.stack([points.real, points.imag], 1).astype(np.int32), float(score[y, x])))
            of_level += _plain_nms(found)
        everything += _plain_nms(of_level)
    return _plain_nms(everything)


def rows(count: int, repeats: int) -> list[tuple[str, int, float, float]]:
    """(what, texts found, median milliseconds of the plain form, of ours) for both detectors."""
    targets = words(count, SIZE)
    maps = pan_maps(targets, SIZE)
    logits, series = fce_maps(targets, SIZE)
    ours_pan, ours_fce = PANPostprocessor(), FCEPostprocessor()
    table = []
    for name, plain, ours in (
        ("PAN", lambda: plain_pan(maps), lambda: ours_pan(maps)),
        ("FCENet", lambda: plain_fce(logits, series), lambda: ours_fce(logits, series)),
    ):
        expected = sorted(plain_scores(plain()))
        found = sorted(float(score) for score in ours()[1])
        if not np.allclose(expected, found, atol=1e-5):
            raise SystemExit(
                f"{name}: {len(found)} texts, the plain form finds {len(expected)} or scores them otherwise"
            )
        seconds = [(_seconds(plain), _seconds(ours)) for _ in range(repeats)]
        table.append((name, len(found), *(1e3 * statistics.median(column) for column in zip(*seconds, strict=True))))
    return table


def plain_scores(result: object) -> list[float]:
    """Scores of either plain form's result."""
    if isinstance(result, tuple):
        return list(result[1])
    return [score for _, score in result]  # type: ignore[attr-defined]


def _seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    table = Table(title=f"post-processing, {options.words} words, {SIZE[1]} x {SIZE[0]} pixels")
    for column in ("", "texts found", "plain ms", "ours ms", "times faster"):
        table.add_column(column, justify="right" if column else "left")
    for name, found, plain, ours in rows(options.words, options.repeats):
        table.add_row(name, str(found), f"{plain:.1f}", f"{ours:.1f}", f"{plain / ours:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
