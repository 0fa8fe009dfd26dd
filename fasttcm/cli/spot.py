"""``fasttcm spot``: find and read the words of pictures."""

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.progress import track

from fasttcm.cli.options import add_device_option, add_weights_option, wide_console
from fasttcm.errors import ConfigError, ImageError

__all__ = ["add_parser", "run"]

EXAMPLES = """examples:
  fasttcm spot photo.jpg
  fasttcm spot photo.jpg --weights output/demo/train/model_final.safetensors --output out/
  fasttcm spot folder/ 'more/*.png' --weights model.safetensors --output out/ --device cuda --batch-size 8
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "spot", help="find and read the words of pictures", description=__doc__, epilog=EXAMPLES
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="files, folders or patterns such as 'scans/*.jpg'")
    add_weights_option(parser)
    parser.add_argument("--output", default="output/spot", metavar="DIR", help="results go here (default output/spot)")
    parser.add_argument("--confidence", type=float, metavar="T", help="lowest score of a word, 0 to 1")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="pictures run together (default 1)")
    parser.add_argument("--no-pictures", action="store_true", help="write the JSON files only")
    add_device_option(parser)
    parser.add_argument(
        "--opts",
        nargs="+",
        default=[],
        metavar="KEY VALUE",
        dest="overrides",
        help="settings to change, e.g. INPUT.MIN_SIZE_TEST 736 INPUT.MAX_SIZE_TEST 1280 for small words",
    )
    return parser


def run(options: argparse.Namespace) -> int:
    """Write NAME.json and NAME.png per picture; returns 1 when a picture could not be read (the others are done)."""
    from fasttcm.data.images import find_images
    from fasttcm.engine.spotter import Spotter

    if options.batch_size < 1:
        raise ConfigError(f"--batch-size must be at least 1, got {options.batch_size}")
    files = find_images(options.images)
    spotter = Spotter(
        options.weights, device=options.device, confidence=options.confidence, overrides=options.overrides
    )
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    names = _unique_names(files)
    failed: list[str] = []
    words = 0
    batches = [files[i : i + options.batch_size] for i in range(0, len(files), options.batch_size)]
    for batch in track(batches, "spotting", transient=True):
        for file, image, found in _spot(spotter, batch, failed):
            words += len(found)
            entry = found.to_json(image_id=names[file], file_name=str(file))
            (folder / f"{names[file]}.json").write_text(json.dumps(entry, indent=1, ensure_ascii=False))
            if not options.no_pictures:
                _draw(folder / f"{names[file]}.png", image, found)
    console = wide_console()
    console.print(f"{words} words in {len(files) - len(failed)} pictures; results in {folder}", highlight=False)
    for line in failed:
        console.print(f"not read: {line}", style="red", markup=False, highlight=False)
    return 1 if failed else 0


def _spot(spotter: Any, batch: list[Path], failed: list[str]) -> Iterator[tuple[Path, Any, Any]]:
    good = []
    for file in batch:
        try:
            good.append((file, spotter.decode(file)))
        except ImageError as error:
            failed.append(str(error))
    found = spotter.batch([image for _, image in good])
    for (file, image), words in zip(good, found, strict=True):
        yield file, image, words


def _draw(path: Path, image: Any, found: Any) -> None:
    from PIL import Image

    from fasttcm.drawing import draw_predictions

    Image.fromarray(draw_predictions(image, found)).save(path)


def _unique_names(files: list[Path]) -> dict[Path, str]:
    """Output names: the file's stem, or with its suffix and a number where that is taken."""
    names: dict[Path, str] = {}
    for file in files:
        candidates = [file.stem, file.name.replace(".", "_")]
        candidates += [f"{file.stem}_{number}" for number in range(2, len(files) + 2)]
        names[file] = next(name for name in candidates if name not in names.values())
        if names[file] != file.stem:
            logging.getLogger(__name__).info("%s is written as %s", file, names[file])
    return names
