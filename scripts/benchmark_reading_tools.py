"""The tools that `benchmark.py reading` compares: our spotter, Tesseract and RapidOCR, each as pixels in, words out.

Tesseract is called as its users call it, one process a picture, and its word boxes are taken as they are. RapidOCR
finds lines. A line becomes words at its spaces, each with its part of the line's quadrilateral: in proportion to the
characters, or between the boxes that RapidOCR gives for single characters. The Chinese punctuation of RapidOCR's
model counts as the ASCII it stands for.
"""

import os
import shutil
import subprocess
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from fasttcm import Spotter
from fasttcm.errors import ImageError

__all__ = [
    "Reader",
    "ToolMissingError",
    "our_readers",
    "parse_tsv",
    "rapidocr_readers",
    "read_enlarged",
    "split_line",
    "tesseract_readers",
]

Pixels = npt.NDArray[np.uint8]
Quad = npt.NDArray[np.float64]
Words = list[dict[str, Any]]
"""``{"points": [[x, y], ...], "text": ..., "score": 0 to 1}`` in pixels of the picture, in the tool's own order."""

WORD_LEVEL = "5"
"""Tesseract's name for lines of its table that are words, not pages, blocks, paragraphs or lines."""

UPRIGHT_LINE = 1.5
"""RapidOCR turns a line at least so many times as high as it is wide, and reads it from the top down."""

ENLARGED = 2
"""Both other tools find more small words in an enlarged picture."""

TESSERACT_CONFIDENCES = (0.6, 0.0, 0.3, 0.5, 0.7, 0.8)
"""It reports a word for much that is none; 0.6 was best, with ``--psm 11``, on synthetic photographs."""

RAPIDOCR_CONFIDENCES = (0.0, 0.6, 0.7, 0.8)
"""It drops lines below 0.5 itself."""


class ToolMissingError(Exception):
    """A tool is not installed; the message is one line that says how to get it."""


@dataclass(frozen=True)
class Reader:
    """One tool in one setting.

    Attributes:
        tool: its name.
        setting: what sets it apart from the tool's other settings.
        read: (height, width, 3) uint8 RGB to words.
        confidences: lowest scores of the words that count, to choose from; the first is the usual one.
    """

    tool: str
    setting: str
    read: Callable[[Pixels], Words]
    confidences: tuple[float, ...] = (0.0,)


def our_readers(weights: str, overrides: Sequence[str]) -> list[Reader]:
    """Our spotter on the CPU, as its configuration and ``overrides`` (KEY VALUE pairs) have it.

    Raises:
        CheckpointError: the weights cannot be used.
        ConfigError: an unknown key.
    """
    spotter = Spotter(weights, device="cpu", overrides=overrides)

    def read(image: Pixels) -> Words:
        words: Words = spotter(image).to_json(image_id=0)["words"]
        return words

    name = str(spotter.config.MODEL.META_ARCHITECTURE)
    return [Reader("fasttcm", name, read, (float(spotter.config.TEST.CONFIDENCE),))]


def tesseract_readers(threads: int) -> list[Reader]:
    """Tesseract in three ways to look for text: sparse, sparse with orientation, a page.

    Raises:
        ToolMissingError: no executable, or no English in it.
    """
    program = shutil.which("tesseract")
    if program is None or "eng" not in _output(program, "--list-langs").split():
        raise ToolMissingError("Tesseract: not installed; apt install tesseract-ocr tesseract-ocr-eng")
    name = f"Tesseract {_output(program, '--version').split()[1]}"
    return [
        reader
        for mode in (11, 12, 3)
        for reader in _in_two_sizes(
            name, f"--psm {mode}", partial(_tesseract, program, mode, threads), TESSERACT_CONFIDENCES
        )
    ]


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _tesseract(program: str, mode: int, threads: int, image: Pixels) -> Words:
    """Words of a picture; one process."""
    encoded = BytesIO()
    Image.fromarray(image).save(encoded, "PPM")
    done = subprocess.run(
        [program, "stdin", "stdout", "-l", "eng", "--psm", str(mode), "tsv"],
        input=encoded.getvalue(),
        capture_output=True,
        # Threads that wait actively cost it tens of times its work where other jobs share the cores.
        env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "OMP_THREAD_LIMIT": str(threads)},
        check=False,
    )
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split())
        raise ImageError(f"tesseract ended with code {done.returncode}: {reason}")
    return parse_tsv(done.stdout.decode())


def parse_tsv(table: str) -> Words:
    """The words of Tesseract's TSV output with a confidence of 0 or more, as upright boxes."""
    lines = [line.split("\t") for line in table.splitlines()]
    column = {name: i for i, name in enumerate(lines[0])}
    words: Words = []
    for line in lines[1:]:
        confidence, text = float(line[column["conf"]]), line[column["text"]].strip()
        if line[column["level"]] != WORD_LEVEL or confidence < 0 or not text:
            continue
        x, y, w, h = (int(line[column[name]]) for name in ("left", "top", "width", "height"))
        points = [[x, y], [x + w, y], [x + w, y + h], [x, y + h]]
        words.append({"points": points, "text": text, "score": confidence / 100})
    return words


def rapidocr_readers(threads: int) -> list[Reader]:
    """RapidOCR with its own models, words cut from its lines in two ways.

    Raises:
        ToolMissingError: the package or one of its dependencies is not there.
    """
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ImportError as error:
        raise ToolMissingError(
            f"RapidOCR: not installed ({error}); pip install onnxruntime, then pip install --no-deps "
            "rapidocr-onnxruntime (which would replace opencv-python-headless by opencv-python)"
        ) from error
    name = f"RapidOCR {version('rapidocr-onnxruntime')}"
    engine = RapidOCR(intra_op_num_threads=threads, inter_op_num_threads=1)
    return [
        reader
        for cut, by_boxes in (("character boxes", True), ("proportion", False))
        for reader in _in_two_sizes(name, cut, partial(_rapidocr, engine, by_boxes), RAPIDOCR_CONFIDENCES)
    ]


def _rapidocr(engine: Callable[..., Any], by_boxes: bool, image: Pixels) -> Words:
    """Words of a picture."""
    lines, _ = engine(np.ascontiguousarray(image[:, :, ::-1]), return_word_box=by_boxes)  # it takes BGR
    words: Words = []
    for quad, text, score, *boxes in lines or []:
        characters = np.asarray(boxes[0], np.float64) if boxes else None
        words += split_line(np.asarray(quad, np.float64), text, float(score), characters=characters)
    return words


def _in_two_sizes(
    tool: str, setting: str, read: Callable[[Pixels], Words], confidences: tuple[float, ...]
) -> list[Reader]:
    """A reader that gets the picture as it is, and one that gets it twice as large."""
    return [
        Reader(tool, setting, read, confidences),
        Reader(tool, f"{setting}, enlarged x {ENLARGED}", partial(read_enlarged, read), confidences),
    ]


def read_enlarged(read: Callable[[Pixels], Words], image: Pixels) -> Words:
    """The words of the picture at :data:`ENLARGED` times its size, put back into its own pixels."""
    enlarged = cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
    found = read(np.asarray(enlarged, np.uint8))
    return [{**word, "points": (np.asarray(word["points"]) / ENLARGED).tolist()} for word in found]


def split_line(quad: Quad, text: str, score: float, *, characters: Quad | None = None) -> Words:
    """A line cut into words at its spaces.

    Args:
        quad: (4, 2) corners clockwise from the top-left one. One that is :data:`UPRIGHT_LINE` times as high as wide
            is read from the top down.
        text: its transcription.
        score: every word gets the line's.
        characters: (len(text), 4, 2) a box for every character, spaces included, within which a word's characters
            lie; ``None``: all characters are equally wide.
    """
    sides = np.linalg.norm(quad - np.roll(quad, -1, 0), axis=1)
    if max(sides[1], sides[3]) >= UPRIGHT_LINE * max(sides[0], sides[2]):
        quad = np.roll(quad, -1, 0)  # the top of the letters is on the right
    starts, ends = _spans(quad, len(text), characters)
    words: Words = []
    first = 0
    for piece in text.split(" "):
        last = first + len(piece) - 1
        if piece.strip():
            points = _part(quad, starts[first], ends[last]).tolist()
            words.append({"points": points, "text": unicodedata.normalize("NFKC", piece), "score": score})
        first = last + 2
    return words


def _spans(quad: Quad, count: int, characters: Quad | None) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Where every character starts and ends, 0 to 1 along the line."""
    if characters is None or len(characters) != count:
        edges = np.arange(count + 1) / count
        return edges[:-1], edges[1:]
    origin, goal = (quad[0] + quad[3]) / 2, (quad[1] + quad[2]) / 2
    along = np.clip((characters - origin) @ (goal - origin) / ((goal - origin) ** 2).sum(), 0, 1)
    return along.min(1), along.max(1)


def _part(quad: Quad, start: float, end: float) -> Quad:
    """The part of a quadrilateral between two shares of its long sides."""
    (a, b), (d, c) = quad[:2], quad[[3, 2]]
    return np.stack([a + start * (b - a), a + end * (b - a), d + end * (c - d), d + start * (c - d)])
