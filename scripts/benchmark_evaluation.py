"""Evaluation timed side by side with a plain reading of the same rules; both have to give the same figures.

Run it as `python scripts/benchmark.py evaluation [--markdown]`. Sets are made up at the public sizes. Plain readings
that would take minutes run on a part, and their time is scaled as the table says. Times are CPU seconds of one thread.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import benchmark_plain as plain
import numpy as np
from rich.console import Console
from rich.table import Table
from shapely.geometry import Polygon

from fasttcm.evaluation import MERGE_RULES, Lexicon, score
from fasttcm.evaluation.dota_merge import suppress
from fasttcm.evaluation.edit_distance import LABELS, NUM_CLASSES
from fasttcm.evaluation.lexicon import LEXICON_RULES
from fasttcm.evaluation.result import Figures
from fasttcm.geometry import polyiou

LETTERS = "eeeeaaaiiooutttnnnsssrrrhhldcmpgbfvwkyxqz"
CELL, CELLS_A_ROW = np.array([256.0, 180.0]), 5
SMALL_RATIO = 20  # below it the table shows one decimal
COLUMNS = ("step", "size", "plain, s", "fasttcm, s", "ratio")
MEMORY_COLUMNS = ("images", "words", "JSON, MB", "imports alone, MB", "peak memory, MB", "seconds")


class Row(NamedTuple):
    """One comparison: median seconds of the whole size, and of the plain reading scaled to it."""

    step: str
    size: str
    plain: float
    ours: float

    def cells(self) -> list[str]:
        """Texts of the table."""
        ratio = self.plain / self.ours
        digits = 1 if ratio < SMALL_RATIO else 0
        return [self.step, self.size, f"{self.plain:.3g}", f"{self.ours:.3g}", f"{ratio:.{digits}f} x"]


def side_by_side(
    step: str,
    size: str,
    slow: Callable[[], Any],
    fast: Callable[[], Any],
    *,
    same: Callable[[Any, Any], bool],
    scale: float = 1.0,
    repeats: int,
) -> Row:
    """Time both in turn and compare what they give; ``scale``: how much of the plain work the size stands for."""
    seconds: list[tuple[float, float]] = []
    for _ in range(repeats):
        pair = []
        for function in (slow, fast):
            start = time.process_time()
            value = function()
            pair.append((time.process_time() - start, value))
        if not same(pair[0][1], pair[1][1]):
            raise SystemExit(f"{step}: the two readings give different figures: {pair[0][1]} and {pair[1][1]}")
        seconds.append((pair[0][0], pair[1][0]))
    slow_seconds, fast_seconds = (statistics.median(side) for side in zip(*seconds, strict=True))
    return Row(step, size, slow_seconds * scale, fast_seconds)


def make_words(rng: np.random.Generator, count: int) -> list[str]:
    """Different made-up words of 3 to 12 letters."""
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(rng.choice(list(LETTERS), rng.integers(3, 13)))] = None
    return list(words)


def misread(rng: np.random.Generator, word: str) -> str:
    """The word with one letter replaced."""
    place = int(rng.integers(len(word)))
    return f"{word[:place]}{rng.choice(list(LETTERS))}{word[place + 1 :]}"


def make_outline(rng: np.random.Generator, cell: int) -> np.ndarray:
    """A bent band of 4 to 14 whole-pixel points in one cell of the image, clockwise as seen: words do not overlap."""
    half = int(rng.integers(2, 8))
    along, bend = np.linspace(0, 1, half), rng.uniform(-0.25, 0.25)
    width, height = rng.uniform(60, 200), rng.uniform(20, 50)
    top = np.stack([width * along, width * bend * 4 * along * (1 - along)], 1)
    band = np.concatenate([top, (top + np.array([0.0, height]))[::-1]])
    return np.round(band + np.array([cell % CELLS_A_ROW, cell // CELLS_A_ROW]) * CELL + rng.uniform(20, 50, 2))


def make_set(rng: np.random.Generator, images: int) -> list[tuple[list[dict], list[dict]]]:
    """Ground truth and predictions per image: about ten words and eleven predictions, the right ones more certain."""
    made = []
    for _ in range(images):
        words, found = [], []
        cells, alarms = int(rng.integers(4, 16)), int(rng.integers(0, 6))
        for cell in range(cells):
            outline, text = make_outline(rng, cell), make_words(rng, 1)[0]
            words.append({"points": outline.tolist(), "text": "###" if rng.random() < 0.1 else text})
            if rng.random() < 0.85:
                moved = outline + np.round(rng.normal(0, 2.5, 2))
                read = text if rng.random() < 0.8 else misread(rng, text)
                found.append({"points": moved.tolist(), "text": read, "score": round(float(rng.beta(8, 2)), 3)})
        for cell in range(cells, cells + alarms):
            outline = make_outline(rng, cell).tolist()
            found.append({"points": outline, "text": "false", "score": round(float(rng.beta(4, 4)), 3)})
        made.append((words, found))
    return made


def documents(images: Sequence[tuple[list[dict], list[dict]]]) -> list[dict[str, Any]]:
    """The scorer's two documents."""
    return [{"images": [{"id": i, "words": pair[side]} for i, pair in enumerate(images)]} for side in (0, 1)]


def make_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Rotated boxes of 4 : 1, (count, 4, 2), three around each place: tiles overlap."""
    centres = np.repeat(rng.uniform(0, 4000, (-(-count // 3), 2)), 3, axis=0)[:count] + rng.normal(0, 2, (count, 2))
    angles, lengths = rng.uniform(0, np.pi, count), rng.uniform(20, 120, count)
    angles = np.repeat(angles[::3], 3)[:count] + rng.normal(0, 0.05, count)
    corners = np.array([[-1, -0.25], [1, -0.25], [1, 0.25], [-1, 0.25]]) * lengths[:, None, None] / 2
    turn = np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], 1).reshape(-1, 2, 2)
    return np.einsum("nij,nkj->nki", turn, corners) + centres[:, None]


def lexicon_rows(rng: np.random.Generator, repeats: int) -> list[Row]:
    """90 000 words; the plain search runs on a few detections."""
    words, detections, some, pairs = make_words(rng, 90_000), 5000, 20, 1000
    chosen = [words[i] for i in rng.integers(len(words), size=detections)]
    texts = [
        text if i % 3 == 0 else misread(rng, text if i % 3 == 1 else text + "qzx") for i, text in enumerate(chosen)
    ]

    def indexed() -> list[str | None]:
        lexicon = Lexicon(words)
        return [lexicon.match(text) for text in texts]

    class_of = {character: number for number, character in enumerate(LABELS)}
    scores = rng.dirichlet(np.full(NUM_CLASSES, 0.05), 25).astype(np.float32)
    read, weighted = texts[0].upper(), LEXICON_RULES["testr_weighted_nearest"]
    part = [word.upper() for word in words[:pairs]]
    whole, small = (Lexicon(some_words, rule=weighted.name) for some_words in (words, part))
    whole.match(read, char_scores=scores)  # makes the tree, once a run

    def searched() -> str:
        distances = [plain.weighted_distance(read, entry, scores, class_of) for entry in part]
        return part[int(np.argmin(distances))]

    def found() -> str | None:
        whole.match(read, char_scores=scores)
        return small.match(read, char_scores=scores)

    return [
        side_by_side(
            "generic lexicon, AdelaiDet and DeepSolo",
            f"{detections} detections x {len(words)} words, with the index (plain: {some} detections)",
            lambda: [plain.lexicon_search(text, words) for text in texts[:some]],
            indexed,
            same=lambda a, b: a == b[:some],
            scale=detections / some,
            repeats=repeats,
        ),
        side_by_side(
            "generic lexicon, TESTR's weighted distance",
            f"1 detection x {len(words)} words (plain: {pairs} words)",
            searched,
            found,
            same=lambda a, b: a == b,
            scale=len(words) / pairs,
            repeats=repeats,
        ),
    ]


def rates(figures: Figures | None) -> tuple[float, float, float] | None:
    """Precision, recall and their harmonic mean."""
    return figures and (figures.precision, figures.recall, figures.hmean)


def text_rows(rng: np.random.Generator, repeats: int) -> list[Row]:
    """A set of the size of Total-Text's test set."""
    images = make_set(rng, 300)
    wanted, found = documents(images)
    size = f"300 images, {sum(len(g) for g, _ in images)} words, {sum(len(d) for _, d in images)} predictions"

    def spotting() -> tuple[Any, Any]:
        result = score(wanted, found, protocol="totaltext")
        return rates(result.detection), rates(result.end_to_end)

    def equal(first: Any, second: Any) -> bool:
        return bool(np.array_equal(first, second))

    return [
        side_by_side(
            "curve script, Total-Text", size, lambda: plain.curve_script(images), spotting, same=equal, repeats=repeats
        ),
        side_by_side(
            "mmocr hmean-iou, seven thresholds",
            size,
            lambda: plain.mmocr_sweep(images),
            lambda: rates(score(wanted, found, protocol="mmocr").detection),
            same=equal,
            repeats=repeats,
        ),
    ]


def dota_rows(rng: np.random.Generator, repeats: int) -> list[Row]:
    """Merging of one image and class, and the overlap alone."""
    boxes, scores = make_boxes(rng, 1500), rng.permutation(1500) / 1500
    rows = []
    for rule in MERGE_RULES.values():
        rows.append(
            side_by_side(
                f"DOTA merge at {rule.threshold}, {'bounding boxes first' if rule.boxes_first else 'all pairs'}",
                f"{len(boxes)} boxes of one image and class",
                lambda rule=rule: plain.merge(boxes, scores, rule.threshold, boxes_first=rule.boxes_first),
                lambda rule=rule: suppress(boxes, scores, rule).tolist(),
                same=lambda a, b: a == b,
                repeats=repeats,
            )
        )
    first, second = make_boxes(rng, 30_000), make_boxes(rng, 30_000)
    second += (first - second).mean(axis=1, keepdims=True) + rng.normal(0, 10, (len(first), 1, 2))
    some = 1000
    crossed = first[:some].copy(), second[:some][:, [0, 2, 1, 3]]  # bow-ties on one side
    near = np.concatenate([first[some:], crossed[0]]), np.concatenate([second[some:], crossed[1]])
    for name, reading, place in (
        ("by shapely, convex pairs", lambda a, b: plain.quad_iou(Polygon(a), Polygon(b)), slice(0, some)),
        ("triangle by triangle, bow-ties", lambda a, b: plain.polyiou(a.tolist(), b.tolist()), slice(-some, None)),
    ):
        rows.append(
            side_by_side(
                f"polyiou, plain one {name}",
                f"{len(near[0])} pairs (plain: {some})",
                lambda reading=reading, place=place: [
                    reading(a, b) for a, b in zip(near[0][place], near[1][place], strict=True)
                ],
                lambda: polyiou(*near),
                same=lambda a, b, place=place: bool(np.allclose(a, b[place], rtol=0, atol=1e-8, equal_nan=True)),
                scale=len(near[0]) / some,
                repeats=repeats,
            )
        )
    return rows


def memory_rows(rng: np.random.Generator, sizes: Sequence[int]) -> list[list[str]]:
    """Score sets of growing size in a process of their own; both files and every image's details are in memory."""
    images, rows = make_set(rng, 300), []
    for size in sizes:
        repeated = [images[i % len(images)] for i in range(size)]
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / name for name in ("gt.json", "found.json")]
            for file, document in zip(files, documents(repeated), strict=True):
                file.write_text(json.dumps(document))
            megabytes = sum(file.stat().st_size for file in files) / 1e6
            command = [sys.executable, __file__, *map(str, files)]
            figures = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        words = sum(len(g) + len(d) for g, d in repeated)
        rows.append([str(size), str(words), f"{megabytes:.0f}", *(f"{float(figure):.0f}" for figure in figures)])
    return rows


def measure_memory(ground_truth: str, predictions: str) -> None:
    """Print memory in MB before one scoring run and at its peak, and its CPU seconds."""
    before, start = peak_memory(), time.process_time()
    score(ground_truth, predictions, protocol="totaltext")
    sys.stdout.write(f"{before} {peak_memory()} {time.process_time() - start}\n")


def peak_memory() -> float:
    """Largest resident size of this process so far, in MB (Linux).

    Not getrusage's figure, which a child takes over from the process that started it.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool) -> None:
    """Print a table."""
    if markdown:
        lines = [columns, [":--"] * 2 + ["--:"] * (len(columns) - 2), *rows]
        sys.stdout.write("".join("| " + " | ".join(line) + " |\n" for line in lines) + "\n")
        return
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < 2 else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def run(*, repeats: int, markdown: bool, sizes: Sequence[int] = (2_000, 20_000)) -> None:
    """Every comparison, then the memory of large sets."""
    rng = np.random.default_rng(0)
    rows = [*lexicon_rows(rng, repeats), *text_rows(rng, repeats), *dota_rows(rng, repeats)]
    show("evaluation against a plain reading", COLUMNS, [row.cells() for row in rows], markdown=markdown)
    show("memory of one scoring run", MEMORY_COLUMNS, memory_rows(rng, sizes), markdown=markdown)


if __name__ == "__main__":
    measure_memory(*sys.argv[1:])
