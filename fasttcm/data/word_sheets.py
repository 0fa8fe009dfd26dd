"""Words cut out of a dataset and laid side by side on sheets: the same words in a tenth of the pixels.

A recogniser that reads from pixels sees nothing but the words; on sheets an iteration of its training decodes and
normalises two pictures instead of twenty.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from fasttcm.data.coco import TextDataset
from fasttcm.data.mapper import read_record_image
from fasttcm.errors import DataError, ImageError
from fasttcm.geometry import sample_sides

__all__ = ["SheetWriter", "WordPiece", "cut_words", "write_sheets"]

Pixels = npt.NDArray[np.uint8]

MARGIN = 0.4
"""Space around a word in word heights: room for a recogniser's jitter, and a little of what surrounds the word."""

HIGHEST = 64.0
"""Word height in pixels that is enough for any recogniser; larger words are reduced to it."""

SHEET = (768, 1024)
"""Height and width of a sheet in pixels."""

QUALITY = 92


class WordPiece(NamedTuple):
    """A word with a margin: (h, w, 3) uint8, its 16 control points in pixels of it, and its transcription."""

    image: Pixels
    bezier: npt.NDArray[np.float64]
    text: str


def cut_words(image: Pixels, beziers: npt.NDArray[np.floating], texts: list[str]) -> Iterator[WordPiece]:
    """The pieces of one picture (h, w, 3) that the n curves (n, 16) lie on; those without area are left out."""
    height, width = image.shape[:2]
    for bezier, text in zip(np.asarray(beziers, np.float64).reshape(-1, 8, 2), texts, strict=True):
        outline = sample_sides(bezier.reshape(16))
        tall = float(np.linalg.norm(bezier[:4] - bezier[7:3:-1], axis=1).mean())
        x0, y0 = np.maximum(np.floor(outline.min(0) - MARGIN * tall), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(outline.max(0) + MARGIN * tall), (width, height)).astype(int)
        if tall < 1 or x1 - x0 < 2 or y1 - y0 < 2:
            continue
        piece, scale = image[y0:y1, x0:x1], min(1.0, HIGHEST / tall, SHEET[1] / (x1 - x0), SHEET[0] / (y1 - y0))
        factors = np.ones(2)
        if scale < 1:
            size = (max(1, int((x1 - x0) * scale)), max(1, int((y1 - y0) * scale)))
            factors = np.asarray(size) / [x1 - x0, y1 - y0]
            piece = np.asarray(cv2.resize(piece, size, interpolation=cv2.INTER_AREA), np.uint8)
        yield WordPiece(piece, ((bezier - [x0, y0]) * factors).reshape(16), text)


class SheetWriter:
    """Collects pieces, fills sheets with them row by row, and writes a dataset.

    Args:
        destination: folder for ``images/`` and ``annotations.json``; must not exist or be empty.
        pieces_a_sheet: pieces sorted by height at once, so that rows are well filled.

    Raises:
        DataError: ``destination`` has something in it.
    """

    def __init__(self, destination: Path, *, pieces_a_sheet: int = 400) -> None:
        if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
            raise DataError(f"{destination} is not an empty folder; choose another one for the sheets")
        self.destination = destination
        self.pieces_a_sheet = pieces_a_sheet
        self._waiting: list[WordPiece] = []
        self._images: list[dict[str, Any]] = []
        self._words: list[dict[str, Any]] = []
        (destination / "images").mkdir(parents=True, exist_ok=True)

    def add(self, piece: WordPiece) -> None:
        """Take one more piece; a sheet is written whenever enough wait."""
        self._waiting.append(piece)
        if len(self._waiting) >= self.pieces_a_sheet:
            self._lay_out()

    def finish(self) -> Path:
        """Write what is left and the annotations; returns their path.

        Raises:
            DataError: there was no piece at all.
        """
        while self._waiting:
            self._lay_out()
        if not self._images:
            raise DataError(f"{self.destination}: no readable word to put on a sheet")
        path = self.destination / "annotations.json"
        categories = [{"id": 1, "name": "text"}]
        content = {"images": self._images, "annotations": self._words, "categories": categories}
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    def _lay_out(self) -> None:
        """One sheet: rows of pieces of like height; what does not fit waits for the next."""
        sheet = np.full((*SHEET, 3), 127, np.uint8)
        left: list[WordPiece] = []
        x = y = row_height = 0
        for piece in sorted(self._waiting, key=lambda piece: piece.image.shape[0]):
            height, width = piece.image.shape[:2]
            if x + width > SHEET[1]:
                x, y, row_height = 0, y + row_height, 0
            if y + height > SHEET[0]:
                left.append(piece)
                continue
            sheet[y : y + height, x : x + width] = piece.image
            self._note(piece, x, y)
            x, row_height = x + width, max(row_height, height)
        name = f"{len(self._images):06d}.jpg"
        done, code = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not done:
            raise DataError(f"{name}: OpenCV cannot encode JPEG")
        (self.destination / "images" / name).write_bytes(code.tobytes())
        self._images.append({"id": len(self._images), "file_name": name, "height": SHEET[0], "width": SHEET[1]})
        self._waiting = left

    def _note(self, piece: WordPiece, x: int, y: int) -> None:
        points = piece.bezier.reshape(8, 2) + np.asarray([x, y])
        outline = sample_sides(points.reshape(16))
        (x0, y0), (x1, y1) = outline.min(0).tolist(), outline.max(0).tolist()
        self._words.append(
            {
                "id": len(self._words),
                "image_id": len(self._images),
                "category_id": 1,
                "bbox": [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)],
                "bezier_pts": np.round(points, 2).reshape(-1).tolist(),
                "text": piece.text,
            }
        )


def write_sheets(dataset: TextDataset, destination: Path) -> tuple[Path, list[str]]:
    """Every readable word of a dataset on sheets.

    Args:
        dataset: where the words come from; ignored ones are left out.
        destination: folder to write.

    Returns:
        The path of ``annotations.json``, and a line for every picture that could not be read.

    Raises:
        DataError: ``destination`` is not empty, or there is no readable word.
    """
    writer, failed = SheetWriter(destination), []
    for index in track(range(len(dataset)), "cutting", transient=True, console=Console(stderr=True)):
        record = dataset[index]
        legible = [row for row in range(len(record.targets)) if not record.targets.ignore[row]]
        try:
            image = read_record_image(record)
        except ImageError as error:
            failed.append(str(error))
            continue
        beziers = record.targets.beziers[legible].numpy()
        for piece in cut_words(image, beziers, [record.targets.texts[row] for row in legible]):
            writer.add(piece)
    return writer.finish(), failed
