"""Data loading measured: what every step of the training mapper costs, images per second, memory over an epoch.

Run it as `python scripts/benchmark.py data [--size 640] [--markdown]`. Pictures are JPEGs of 1280 x 720 pixels made by
the generator of `fasttcm synth`. Times are CPU time of one thread; the reference of every step is decoding the JPEG.
"""

import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from fasttcm.data.augment import ColorJitter, InstanceCrop, RandomRotation, ResizeShortestEdge, Transform
from fasttcm.data.coco import TextDataset
from fasttcm.data.images import read_image
from fasttcm.data.loading import build_train_loader
from fasttcm.data.mapper import TrainMapper, finish_targets, read_record_image, to_sample
from fasttcm.data.sampling import GroupedOrder, WeightedOrder, is_wide
from fasttcm.data.synth import SynthOptions, render_scene

WIDTH, HEIGHT = 1280, 720
PICTURES = 24
MEMORY_IMAGES, WORDS_AN_IMAGE = 10_000, 10
SMALL_SIDE = 96
CHECKPOINTS = 5
MEGABYTE = 2**20


class Step(NamedTuple):
    """A step of the mapper and its time in milliseconds an image."""

    name: str
    median: float


def photographs(folder: Path, count: int) -> Path:
    """A dataset of synthetic photographs of 1280 x 720 pixels; returns its JSON."""
    (folder / "images").mkdir(parents=True)
    options = SynthOptions(image_size=(WIDTH, WIDTH), words_per_image=(10, 20))
    images, annotations = [], []
    for number in track(range(count), "drawing"):
        scene = render_scene(options, number)
        Image.fromarray(scene.image[:HEIGHT]).save(folder / "images" / f"{number}.jpg", quality=90)
        images.append({"id": number, "file_name": f"{number}.jpg", "height": HEIGHT, "width": WIDTH})
        for word in scene.words:
            if word.polygon[:, 1].max() < HEIGHT:
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": number,
                        "polys": word.polygon.ravel().tolist(),
                        "bezier_pts": word.bezier.tolist(),
                        "text": word.text,
                    }
                )
    path = folder / "annotations.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def without_curves(path: Path) -> Path:
    """The same dataset with polygons alone, so that curves are fitted when a word is looked at."""
    content = json.loads(path.read_text())
    for word in content["annotations"]:
        del word["bezier_pts"]
    other = path.with_name("polygons.json")
    other.write_text(json.dumps(content))
    return other


def transforms(size: int) -> list[tuple[str, Transform]]:
    """The training augmentation with everything on."""
    return [
        ("crop that cuts no word", InstanceCrop()),
        ("rotation, up to 30 degrees", RandomRotation(degrees=30)),
        (f"resize, short side {size}", ResizeShortestEdge(min_sizes=(size,), max_size=1600)),
        ("brightness", ColorJitter(brightness=0.4)),
        ("contrast", ColorJitter(contrast=0.4)),
        ("saturation", ColorJitter(saturation=0.4)),
        ("hue", ColorJitter(hue=0.1)),
    ]


def milliseconds(function: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Least CPU time of a call and its result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        best = min(best, time.process_time() - start)
    return 1000 * best, result


def profile(path: Path, size: int) -> list[Step]:
    """Median time of every step over the pictures, each step on what the step before it gave."""
    dataset = TextDataset.from_json(path)
    plain = TextDataset.from_json(without_curves(path))
    times: dict[str, list[float]] = {}

    def timed(name: str, function: Callable[[], Any]) -> Any:
        value, result = milliseconds(function)
        times.setdefault(name, []).append(value)
        return result

    for number in track(range(len(dataset)), "steps"):
        file = dataset.tables[0].root / dataset.tables[0].file_names[number]
        record = timed("words from the index", partial(dataset.__getitem__, number))
        timed("words from the index, curves fitted to polygons", partial(plain.__getitem__, number))
        timed("JPEG decoded (the reference)", lambda file=file: np.asarray(Image.open(file)))
        timed("JPEG read: checks, EXIF, RGB, decoding", partial(read_image, file))
        image, targets = read_record_image(record), record.targets
        for name, transform in transforms(size):
            function = partial(_apply, transform, image, targets, number)
            image, targets = timed(name, function)
        timed("tensor", partial(to_sample, image, height=HEIGHT, width=WIDTH))
        timed("words clipped and judged", partial(finish_targets, targets, image.shape[0], image.shape[1]))
        mapper = TrainMapper(transforms=[transform for _, transform in transforms(size)])
        timed("the whole mapper", partial(_mapped, mapper, record, number))
    return [Step(name, statistics.median(values)) for name, values in times.items()]


def _mapped(mapper: TrainMapper, record: Any, seed: int) -> Any:
    return mapper(record, np.random.default_rng(seed))


def _apply(transform: Transform, image: Any, targets: Any, seed: int) -> Any:
    return transform(image, targets, np.random.default_rng(seed))


def throughput(path: Path, size: int, workers: int, images: int) -> float:
    """Images per second of wall time through the loader, after a warm-up of 16."""
    dataset = TextDataset.from_json(path)
    mapper = TrainMapper(transforms=[transform for _, transform in transforms(size)])
    batches = iter(build_train_loader(dataset, mapper, batch_size=4, seed=0, num_workers=workers))
    for _ in range(4):
        next(batches)
    start = time.perf_counter()
    for _ in range(images // 4):
        next(batches)
    return images / (time.perf_counter() - start)


def many_annotations(folder: Path) -> TextDataset:
    """A dataset of 100 000 words on 10 000 small pictures (links to a few files), polygons and curves."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        pixels = rng.integers(0, 255, (SMALL_SIDE, SMALL_SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.jpg")
    images, annotations = [], []
    for number in range(MEMORY_IMAGES):
        images.append(
            {"id": number, "file_name": f"{number % PICTURES}.jpg", "height": SMALL_SIDE, "width": SMALL_SIDE}
        )
        for x, y in rng.uniform(0, SMALL_SIDE - 33, (WORDS_AN_IMAGE, 2)).round(1):
            ring = [x, y, x + 15, y, x + 30, y, x + 30, y + 9, x + 15, y + 9, x, y + 9]
            curve = [x, y, x + 10, y, x + 20, y, x + 30, y, x + 30, y + 9, x + 20, y + 9, x + 10, y + 9, x, y + 9]
            annotations.append(
                {"id": len(annotations), "image_id": number, "polys": ring, "bezier_pts": curve, "text": f"w{x}"}
            )
    path = folder / "annotations.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return TextDataset.from_json(path)


def megabytes(process: int | None) -> float:
    """Memory of a process that is not a file's; a page that n processes share counts 1 / n (Linux, Pss_Anon)."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:")) / 1024


def memory(dataset: TextDataset, workers: int) -> Iterator[tuple[int, float, float]]:
    """(images shown, megabytes of this process, megabytes of all workers together) over one epoch."""
    order = GroupedOrder(WeightedOrder([len(dataset)], [1], seed=0), is_wide(dataset), batch_size=20, seed=0)
    mapper = TrainMapper(transforms=[ResizeShortestEdge(min_sizes=(SMALL_SIDE,), max_size=200)])
    loader = build_train_loader(dataset, mapper, batch_size=20, seed=0, num_workers=workers, order=order)
    batches = iter(loader)
    step = len(dataset) // 20 // CHECKPOINTS
    for checkpoint in range(CHECKPOINTS + 1):
        for _ in range(step if checkpoint else 5):
            next(batches)
        children = sum(megabytes(child.pid) for child in multiprocessing.active_children())
        yield checkpoint * step * 20, megabytes(os.getpid()), children


def run(*, size: int, workers: int, markdown: bool) -> None:
    """Measure and print the three tables."""
    with tempfile.TemporaryDirectory() as folder:
        path = photographs(Path(folder) / "photographs", PICTURES)
        steps = profile(path, size)
        decode = next(step.median for step in steps if "reference" in step.name)
        rows = [[step.name, f"{step.median:.2f}", f"{step.median / decode:.2f}"] for step in steps]
        _print(f"training mapper, {WIDTH} x {HEIGHT} JPEG", ["step", "ms an image", "JPEG decoded = 1"], rows, markdown)
        counts = sorted({0, 1, workers})
        speeds = [[str(n) if n else "none (main process)", f"{throughput(path, size, n, 200):.1f}"] for n in counts]
        _print("loader, batches of 4", ["worker processes", "images a second"], speeds, markdown)
        dataset = many_annotations(Path(folder) / "many")
        title = f"{dataset.num_words} words on {len(dataset)} images, index of {dataset.nbytes / MEGABYTE:.1f} MB"
        lines = [[str(n), f"{main:.0f}", f"{rest:.0f}"] for n, main, rest in memory(dataset, workers)]
        _print(title, ["images shown", "main process, MB", f"{workers} workers, MB"], lines, markdown)


def _print(title: str, columns: list[str], rows: list[list[str]], markdown: bool) -> None:
    if markdown:
        print(f"\n{title}\n")
        for row in (columns, ["---", *["---:"] * (len(columns) - 1)], *rows):
            print(f"| {' | '.join(row)} |")
        return
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
