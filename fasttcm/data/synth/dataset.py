"""A whole synthetic dataset on disk, made by several processes: images, AdelaiDet's JSON, lexicons, and a card."""

import json
import logging
import multiprocessing
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fasttcm.charset import Charset
from fasttcm.data.synth.fonts import FontLibrary, load_fonts, remember_fonts
from fasttcm.data.synth.options import MAX_TEXT_LENGTH, SynthOptions
from fasttcm.data.synth.scene import Scene, SynthWord, render_scene
from fasttcm.data.synth.vocabulary import load_words
from fasttcm.errors import DataError
from fasttcm.geometry import polygon_area, polygon_box, sample_sides

__all__ = ["generate_dataset", "scene_seed"]

logger = logging.getLogger(__name__)

GENERATOR = "fasttcm synth 2"
"""Name and version of the generator; the version changes when the same seed gives other pictures."""

COORDINATE_DIGITS = 2
"""Decimals of a pixel in the JSON."""

IMAGES_PER_PROCESS = 32
"""By default a worker is started for this many images: starting one costs as much as drawing some of them."""

CHUNK = 4
"""Images handed to a worker at once; chunks under way are finished after Ctrl-C, so they are short."""

OWN_IMAGE = re.compile(r"\d{6,}\.jpg")
OWN_FILES = ("annotations.json", "card.json", "lexicon_full.txt", "lexicon_full_pairs.txt")

Record = tuple[dict[str, Any], list[dict[str, Any]]]
"""COCO entries of one image and of its words, the latter without their ``id``."""


def scene_seed(seed: int, index: int) -> np.random.SeedSequence:
    """The seed of image ``index`` of the dataset ``seed``: independent of every other image."""
    return np.random.SeedSequence(entropy=seed, spawn_key=(index,))


def _numbers(values: np.ndarray) -> list[float]:
    return [float(v) for v in np.round(np.asarray(values, np.float64).reshape(-1), COORDINATE_DIGITS)]


def _annotation(word: SynthWord, image_id: int) -> dict[str, Any]:
    x0, y0, x1, y1 = polygon_box(np.concatenate([word.polygon, _outline(word)]))
    return {
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "ignore": 0,
        "area": round(abs(polygon_area(word.polygon)), COORDINATE_DIGITS),
        "bbox": _numbers(np.array([x0, y0, x1 - x0, y1 - y0])),
        "bezier_pts": _numbers(word.bezier),
        "rec": Charset.named("ascii").encode(word.text, MAX_TEXT_LENGTH),
        "text": word.text,
        "polys": _numbers(word.polygon),
    }


def _outline(word: SynthWord) -> np.ndarray:
    """Dense points on the word's curves, for its box."""
    return sample_sides(word.bezier)


def _write_image(path: Path, scene: Scene, quality: int) -> None:
    done, code = cv2.imencode(".jpg", scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise DataError(f"{path}: OpenCV cannot encode JPEG")
    path.write_bytes(code.tobytes())


def _make_image(
    index: int, *, destination: Path, seed: int, options: SynthOptions, jpeg_quality: tuple[int, int]
) -> Record:
    """Draw image ``index``, write it, and return its COCO entries."""
    rng = np.random.default_rng(scene_seed(seed, index))
    scene = render_scene(options, rng)
    name = f"{index:06d}.jpg"
    _write_image(destination / "images" / name, scene, int(rng.integers(jpeg_quality[0], jpeg_quality[1] + 1)))
    height, width = scene.image.shape[:2]
    image = {"id": index, "file_name": name, "height": height, "width": width}
    return image, [_annotation(word, index) for word in scene.words]


def _start_worker(options: SynthOptions, library: FontLibrary) -> None:
    """One OpenCV thread a process; Ctrl-C is the parent's business, and so is examining the fonts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    remember_fonts(options.fonts, options.split, library)


@contextmanager
def _records(
    make: partial[Record], count: int, processes: int, options: SynthOptions, library: FontLibrary
) -> Iterator[Iterator[Record]]:
    """An iterator over the records in order; leaving the block early stops the workers."""
    if processes == 1:
        yield map(make, range(count))
        return
    executor = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(options, library)
    )
    try:
        yield executor.map(make, range(count), chunksize=CHUNK)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _prepare(destination: Path, overwrite: bool) -> None:
    """Make an empty dataset folder; of an existing one only files of this generator are removed."""
    if destination.exists() and not destination.is_dir():
        raise DataError(f"{destination} is a file; name a folder for the dataset")
    if destination.is_dir() and any(destination.iterdir()):
        if not overwrite:
            raise DataError(f"{destination} is not empty; choose another folder or pass --overwrite")
        for name in OWN_FILES:
            (destination / name).unlink(missing_ok=True)
        for old in (destination / "images").glob("*.jpg"):
            if OWN_IMAGE.fullmatch(old.name):
                old.unlink()
    (destination / "images").mkdir(parents=True, exist_ok=True)


def _write_tables(destination: Path, records: list[Record], card: dict[str, Any]) -> None:
    """Lexicons, card and, last, the annotations: a folder with ``annotations.json`` is complete."""
    annotations = [dict(id=i, **entry) for i, entry in enumerate(entry for _, entries in records for entry in entries)]
    legible = sorted({entry["text"] for entry in annotations} - {"###"})
    _write_atomically(destination / "lexicon_full.txt", "".join(f"{word}\n" for word in legible))
    _write_atomically(destination / "lexicon_full_pairs.txt", "".join(f"{word.upper()} {word}\n" for word in legible))
    _write_atomically(destination / "card.json", json.dumps(card, indent=2) + "\n")
    coco = {
        "info": {"description": card["name"], "generator": GENERATOR},
        "images": [image for image, _ in records],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "text"}],
    }
    _write_atomically(destination / "annotations.json", json.dumps(coco))


def _describe(options: SynthOptions, library: FontLibrary) -> dict[str, Any]:
    """Options as JSON values; of files only the names, so that the card tells nothing about the machine."""
    entries = asdict(options)
    entries["fonts"] = sorted({face.path.name for face in library.faces})
    entries["vocabulary"] = options.vocabulary.name if options.vocabulary else None
    return entries


def generate_dataset(
    destination: Path,
    *,
    count: int,
    seed: int = 0,
    options: SynthOptions | None = None,
    processes: int | None = None,
    progress: bool = True,
    jpeg_quality: tuple[int, int] = (60, 95),
    overwrite: bool = False,
) -> Path:
    """Write a dataset of synthetic scene text.

    Image ``i`` depends on ``seed``, ``i`` and ``options`` only, so the result is the same for any number of processes.

    Args:
        destination: folder, made if missing.
        count: number of images, at least 1.
        seed: number of the dataset, at least 0; another seed gives another split.
        options: what the scenes look like; ``None`` for the defaults.
        processes: worker processes; ``None`` for one a core, fewer for few images.
        progress: show a progress bar on the terminal.
        jpeg_quality: (least, most) quality of the files, 1 to 100.
        overwrite: replace an earlier dataset in ``destination`` (files of other names are left alone).

    Returns:
        The path of ``annotations.json``; ``images/``, ``card.json`` and the lexicons lie beside it. It is written last:
        an interrupted run leaves images but no ``annotations.json``.

    Raises:
        DataError: when ``destination`` is not empty, or fonts or vocabulary cannot be used.
        ValueError: for a count, seed, quality or number of processes out of range.
    """
    if count < 1 or seed < 0 or (processes is not None and processes < 1):
        raise ValueError(f"count and processes start at 1 and seed at 0, got {count}, {processes} and {seed}")
    if not 1 <= jpeg_quality[0] <= jpeg_quality[1] <= 100:
        raise ValueError(f"jpeg_quality is (least, most) within 1 to 100, got {jpeg_quality}")
    options = options or SynthOptions()
    destination = Path(destination)
    library = load_fonts(options.fonts, options.split)
    vocabulary = load_words(options.vocabulary, options.split)
    if library.skipped:
        logger.info("%d font files left out: broken, unreadable, or without all letters and digits", library.skipped)
    _prepare(destination, overwrite)
    make: partial[Record] = partial(
        _make_image, destination=destination, seed=seed, options=options, jpeg_quality=jpeg_quality
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    workers = min(processes or min(os.cpu_count() or 1, -(-count // IMAGES_PER_PROCESS)), count)
    bar_to = Console(stderr=True)
    records_of = _records(make, count, workers, options, library)
    with Progress(*columns, console=bar_to, disable=not progress) as bar, records_of as made:
        records = list(bar.track(made, total=count, description=f"drawing {destination.name}"))
    card = {
        "name": destination.name,
        "generator": GENERATOR,
        "seed": seed,
        "count": count,
        "options": _describe(options, library),
        "fonts_digest": library.digest(),
        "vocabulary_digest": vocabulary.digest(),
        "jpeg_quality": list(jpeg_quality),
        "fonts_skipped": library.skipped,
        "protocol": "totaltext",
        "lexicons": {"full": "lexicon_full.txt"},
    }
    _write_tables(destination, records, card)
    return destination / "annotations.json"
