"""``fasttcm synth``: make a dataset of synthetic scene text."""

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]

EXAMPLES = """examples:
  fasttcm synth datasets/synth -n 1000
  fasttcm synth datasets/small -n 200 --size 256 --words 2 5 --word-height 18 56 --seed 1
  fasttcm synth datasets/street -n 5000 --preset photo --fonts /usr/share/fonts --split train --processes 8
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "synth", help="make a dataset of synthetic scene text", description=__doc__, epilog=EXAMPLES
    )
    parser.add_argument("destination", metavar="DST", help="folder to write: images/, annotations.json, card.json")
    parser.add_argument("-n", "--count", type=int, default=1000, help="number of images (default 1000)")
    parser.add_argument(
        "--preset", default="signs", help="signs: clear signs (default); photo: what a camera meets in a street"
    )
    parser.add_argument("--size", type=int, nargs=2, metavar=("MIN", "MAX"), help="range of the image sides in pixels")
    parser.add_argument("--height", type=int, nargs=2, metavar=("MIN", "MAX"), help="the same for the height alone")
    parser.add_argument("--words", type=int, nargs=2, metavar=("MIN", "MAX"), help="words per image")
    parser.add_argument("--word-height", type=float, nargs=2, metavar=("MIN", "MAX"), help="height of words in pixels")
    parser.add_argument(
        "--fonts", metavar="DIR", action="append", help="folder with .ttf/.otf files, instead of matplotlib's"
    )
    parser.add_argument("--vocabulary", type=Path, metavar="FILE", help="more words than the built-in list")
    parser.add_argument(
        "--split",
        choices=("all", "train", "validation"),
        default="all",
        help="train and validation share no font family and no long word (default all)",
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same dataset (default 0)")
    parser.add_argument("--processes", type=int, default=0, metavar="N", help="processes (default: one a core)")
    parser.add_argument("--overwrite", action="store_true", help="replace what is in DST")
    return parser


def run(options: argparse.Namespace) -> int:
    """Write the dataset."""
    from fasttcm.data.synth import SynthOptions, generate_dataset
    from fasttcm.errors import ConfigError

    if options.count < 1 or options.seed < 0 or options.processes < 0:
        raise ConfigError("--count starts at 1, --seed and --processes at 0")
    given = {
        "image_size": options.size,
        # A size without a height is meant for both sides.
        "image_height": options.height or options.size,
        "words_per_image": options.words,
        "word_height": options.word_height,
    }
    knobs: dict[str, Any] = {name: tuple(value) for name, value in given.items() if value is not None}
    if options.fonts:
        knobs["fonts"] = tuple(Path(folder) for folder in options.fonts)
    path = generate_dataset(
        Path(options.destination),
        count=options.count,
        seed=options.seed,
        options=SynthOptions.preset(options.preset, vocabulary=options.vocabulary, split=options.split, **knobs),
        processes=options.processes or None,
        overwrite=options.overwrite,
    )
    print(f"{options.count} images and their annotations: {path.parent}")
    return 0
