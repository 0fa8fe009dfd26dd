"""``fasttcm show``: pictures of a dataset with their annotations drawn on them."""

import argparse
import sys
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]

EXAMPLES = """examples:
  fasttcm show totaltext_train
  fasttcm show datasets/icdar2015 -n 50 --output pictures --seed 1

blue: the outline, with its transcription; amber: its top side; red dot: the first point; grey: do not care
"""

LONGER_SIDE = 1000
"""Small pictures are enlarged to it, so that tags can be read."""

QUALITY = 92


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "show", help="draw the annotations of a dataset", description=__doc__, epilog=EXAMPLES
    )
    parser.add_argument("dataset", metavar="DATASET", help="a name, a folder, a folder of splits, or a JSON file")
    parser.add_argument("-n", "--count", type=int, default=20, help="pictures of each split (default 20; 0 for all)")
    parser.add_argument("--output", metavar="DIR", help="folder to write to (default: show_<name>)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of pictures (default 0)")
    return parser


def run(options: argparse.Namespace) -> int:
    """Write the pictures; returns 1 when an image could not be read."""
    import numpy as np
    from PIL import Image

    from fasttcm.cli.word_pictures import draw_annotations
    from fasttcm.data.catalog import load_entry, resolve_splits
    from fasttcm.data.mapper import read_record_image
    from fasttcm.errors import ConfigError, ImageError

    if options.count < 0 or options.seed < 0:
        raise ConfigError("--count and --seed are not negative")
    failed = 0
    for entry in resolve_splits(options.dataset):
        dataset = load_entry(entry)
        folder = Path(options.output or f"show_{entry.name}")
        folder = folder / entry.name if options.output else folder
        folder.mkdir(parents=True, exist_ok=True)
        count = min(options.count or len(dataset), len(dataset))
        chosen = np.random.default_rng(options.seed).permutation(len(dataset))[:count]
        for index in sorted(chosen.tolist()):
            record = dataset[index]
            try:
                picture = draw_annotations(read_record_image(record), record.targets, min_side=LONGER_SIDE)
            except ImageError as error:
                print(f"{entry.name}: {error}", file=sys.stderr)
                failed += 1
                continue
            name = f"{Path(record.file_name).with_suffix('').as_posix().replace('/', '_')}_{index}.jpg"
            Image.fromarray(picture).save(folder / name, quality=QUALITY)
        print(f"{entry.name}: {count} of {len(dataset)} pictures in {folder}")
    return 1 if failed else 0
