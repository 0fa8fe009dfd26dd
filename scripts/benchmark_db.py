"""DBNet's post-processing against a plain reading of its rules, on probability maps of pictures full of words.

    python scripts/benchmark_db.py --words 100

The plain form is the shortest honest reading of SPEC ``detectors`` section 6: one contour after the other through
OpenCV, shapely and pyclipper. Both forms must find the same. Time is the process's CPU time with one thread;
alternatives are timed in turn and the table gives medians.
"""

import argparse
import statistics

import cv2
import numpy as np
import pyclipper
import torch
from benchmark_pan_fce import _seconds, words  # the file beside this one
from rich.console import Console
from rich.table import Table
from shapely.geometry import Polygon

from fasttcm.projects.dbnet.postprocess import DBPostprocessor
from fasttcm.projects.dbnet.targets import DBTargetMaker
from fasttcm.structures import TextTargets

__all__ = ["SETTINGS", "plain_db", "probability_map", "rows"]

SIZE = (1024, 1824)
"""A 16:9 picture at the test scale of ICDAR 2015, (4068, 1024), rounded to 32."""

SETTINGS = {  # SPEC 6, the table
    "default": {},
    "ICDAR 2015": {"mask_threshold": 0.28, "score_threshold": 0.2, "min_text_width": 2, "approx_ratio": 0.001}
    | {"unclip_ratio": 1.6},
    "TD500": {"mask_threshold": 0.08, "score_threshold": 0.17, "min_text_width": 3, "approx_ratio": 0.0}
    | {"unclip_ratio": 1.9, "max_candidates": 1000},
    "CTW1500": {"mask_threshold": 0.08, "min_text_width": 3, "approx_ratio": 0.0001, "unclip_ratio": 2.0}
    | {"form": "poly"},
    "Total-Text": {"mask_threshold": 0.347, "approx_ratio": 0.004, "unclip_ratio": 1.95, "form": "poly"},
}


def probability_map(targets: TextTargets, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(H, W) map of a well-trained DBNet: its kernels with soft edges and smooth noise on the logits."""
    rng = np.random.default_rng(seed)
    kernels = (DBTargetMaker().draw(targets, size).kernels > 0).astype(np.float32)
    noise = cv2.GaussianBlur(rng.normal(0, 1, size).astype(np.float32), (0, 0), 2) * 4
    logits = 9 * cv2.GaussianBlur(kernels, (0, 0), 1.5) - 5 + noise * 0.3
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def plain_db(
    probability: np.ndarray,
    *,
    mask_threshold: float = 0.3,
    score_threshold: float = 0.3,
    min_text_width: float = 5.0,
    approx_ratio: float = 0.01,
    unclip_ratio: float = 1.5,
    max_candidates: int = 3000,
    form: str = "quad",
) -> tuple[list[np.ndarray], list[float]]:
    """DBNet's rule, one contour after the other."""
    mask = probability > mask_threshold
    contours, _ = cv2.findContours((mask * 255).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    outlines, scores = [], []
    for i, contour in enumerate(contours):
        if i > max_candidates:
            break
        if approx_ratio > 0:
            contour = cv2.approxPolyDP(contour, approx_ratio * cv2.arcLength(contour, True), True)
        points = contour.reshape(-1, 2)
        if len(points) < 4:
            continue
        low, high = points.min(0), points.max(0)
        inside = np.zeros((high[1] - low[1] + 1, high[0] - low[0] + 1), np.uint8)
        cv2.fillPoly(inside, [points - low], 1)
        score = cv2.mean(probability[low[1] : high[1] + 1, low[0] : high[0] + 1], inside)[0]
        if score < score_threshold:
            continue
        polygon = Polygon(points)
        offset = pyclipper.PyclipperOffset()
        offset.AddPath(points, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
        rings = offset.Execute(polygon.area * unclip_ratio / polygon.length)
        if len(rings) != 1:
            continue
        outline = np.array(rings[0])
        if form == "quad":
            rectangle = cv2.minAreaRect(outline)
            if min(rectangle[1]) <= min_text_width:
                continue
            outline = cv2.boxPoints(rectangle)
        elif len(outline) < 4:
            continue
        outlines.append(outline)
        scores.append(score)
    return outlines, scores


def rows(count: int, repeats: int) -> list[tuple[str, int, float, float]]:
    """(settings, texts found, median milliseconds of the plain form, of ours)."""
    probability = probability_map(words(count, SIZE), SIZE)
    table = []
    for name, settings in SETTINGS.items():
        process = DBPostprocessor(**settings)
        (expected, expected_scores), (found, scores) = plain_db(probability, **settings), process(probability)
        same = len(expected) == len(found) and all(map(np.array_equal, expected, found))
        if not same or not np.allclose(expected_scores, scores, atol=1e-5):
            raise SystemExit(f"DBNet, {name}: {len(found)} texts, the plain form finds {len(expected)} or others")
        seconds = [
            (_seconds(lambda s=settings: plain_db(probability, **s)), _seconds(lambda p=process: p(probability)))
            for _ in range(repeats)
        ]
        plain, ours = (1e3 * statistics.median(column) for column in zip(*seconds, strict=True))
        table.append((name, len(found), plain, ours))
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    table = Table(title=f"DBNet's post-processing, {options.words} words, {SIZE[1]} x {SIZE[0]} pixels")
    for column in ("", "texts found", "plain ms", "ours ms", "times faster"):
        table.add_column(column, justify="right" if column else "left")
    for name, found, plain, ours in rows(options.words, options.repeats):
        table.add_row(name, str(found), f"{plain:.1f}", f"{ours:.1f}", f"{plain / ours:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
