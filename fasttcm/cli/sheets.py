"""``fasttcm sheets``: the words of datasets side by side on sheets, to train a recogniser fast."""

import argparse
import sys
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]

EXAMPLES = """examples:
  fasttcm sheets datasets/street datasets/street_words
  fasttcm train --config-file configs/compact/recognizer.yaml DATASETS.TRAIN datasets/street_words
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "sheets", help="lay the words of a dataset on sheets", description=__doc__, epilog=EXAMPLES
    )
    parser.add_argument("dataset", metavar="DATASET", help="a name, a folder, or a JSON file")
    parser.add_argument("destination", metavar="DST", help="empty folder to write: images/ and annotations.json")
    return parser


def run(options: argparse.Namespace) -> int:
    """Write the sheets; returns 1 when an image could not be read."""
    from fasttcm.data.catalog import load_dataset
    from fasttcm.data.word_sheets import write_sheets

    path, failed = write_sheets(load_dataset(options.dataset), Path(options.destination))
    for line in failed:
        print(line, file=sys.stderr)
    print(f"sheets and their annotations: {path.parent}")
    return 1 if failed else 0
