"""``fasttcm synth``: make a dataset of synthetic scene text."""

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]

EXAMPLES = """examples:
  fasttcm synth datasets/synth -n 1000
  fasttcm synth datasets/small -n 200 --size 256 --words 2 5 --word-height 18 56 --seed 1
  fasttcm synth datasets/mine -n 5000 --fonts ~/fonts --processes 8
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "synth", help="make a dataset of synthetic scene text", description=__doc__, epilog=EXAMPLES
    )
    parser.add_argument("destination", metavar="DST", help="folder to write: images/, annotations.json, card.json")
    parser.add_argument("-n", "--count", type=int, default=1000, help="number of images (default 1000)")
    parser.add_argument("--size", type=int, nargs=2, metavar=("MIN", "MAX"), help="range of the image sides in pixels")
    parser.add_argument("--words", type=int, nargs=2, metavar=("MIN", "MAX"), help="words per image")
    parser.add_argument("--word-height", type=float, nargs=2, metavar=("MIN", "MAX"), help="height of words in pixels")
    parser.add_argument("--fonts", metavar="DIR", action="append", help="folder with .ttf/.otf files, instead of matplotlib's")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same dataset (default 0)")
    parser.add_argument("--processes", type=int, default=0, metavar="N", help="processes (default: one a core)")
    parser.add_argument("--overwrite", action="store_true", help="replace what is in DST")
    return parser
