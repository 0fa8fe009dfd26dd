"""``fasttcm prepare``: a dataset as published, written as our JSON, an image folder and a card."""

import argparse
from typing import Any

from fasttcm.cli.options import wide_console
from fasttcm.data.prepare.options import READER_OPTIONS
from fasttcm.errors import ConfigError

__all__ = ["add_parser", "run"]

SHOWN_PROBLEMS = 5

EXAMPLES = """examples:
  fasttcm prepare --list
  fasttcm prepare icdar2015 ~/Downloads/icdar2015 datasets/icdar2015
  fasttcm prepare totaltext ~/Downloads/totaltext datasets/totaltext --split test --images copy
  fasttcm prepare mlt2017 ~/Downloads/mlt datasets/mlt2017 --latin-only --strict

SRC is a folder with the published files, unpacked or as archives, or one archive. Every split found in it goes to
DST/<split>: annotations.json, images (a link or files), card.json and lexicons/. Use the result by its path, or by the
name <dataset>_<split> when DST is <dataset> under FASTTCM_DATASETS. Running again gives the same bytes; an interrupted
run goes on where it stopped.

exit code: 0 done, 1 done, but something was skipped or put right (listed), 2 a mistake (one line says what and where)
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "prepare", help="convert a published dataset", description=__doc__, epilog=EXAMPLES
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="which dataset or format; --list shows them")
    parser.add_argument("source", metavar="SRC", nargs="?", help="folder or archive as published")
    parser.add_argument("destination", metavar="DST", nargs="?", help="folder to write")
    parser.add_argument("--list", action="store_true", help="list the names, the files expected, and their number")
    parser.add_argument("--split", action="append", metavar="NAME", help="only this split; may be repeated")
    parser.add_argument(
        "--images",
        default="link",
        choices=("link", "copy"),
        help="link to the folder of the images, else to each (default), or copy them; out of archives always copy",
    )
    parser.add_argument(
        "--order",
        default="auto",
        choices=("auto", "given"),
        help="find the first corner and reading direction of polygons (default), or take the publisher's",
    )
    parser.add_argument("--strict", action="store_true", help="fail at the first problem, with its file and line")
    parser.add_argument("--verify", action="store_true", help="decode every image instead of reading its header")
    own = parser.add_argument_group("options of single datasets")
    for name, option in READER_OPTIONS.items():
        flag = f"--{name.replace('_', '-')}"
        if option.metavar:
            own.add_argument(flag, metavar=option.metavar, type=option.type, help=option.help)
        else:
            own.add_argument(flag, action="store_const", const=True, help=option.help)
    return parser


def run(options: argparse.Namespace) -> int:
    """Prepare, and print a line for each split; returns 1 when something was skipped or put right."""
    if options.list:
        _print_list()
        return 0
    if options.name is None or options.source is None or options.destination is None:
        raise ConfigError("fasttcm prepare needs NAME SRC DST; fasttcm prepare --list shows the names")
    from fasttcm.data.prepare.run import prepare_dataset

    given = {name: getattr(options, name) for name in READER_OPTIONS}
    results = prepare_dataset(
        options.name,
        options.source,
        options.destination,
        splits=tuple(options.split or ()),
        images=options.images,
        order=options.order,
        strict=options.strict,
        verify=options.verify,
        options={name: value for name, value in given.items() if value is not None},
        progress=True,
    )
    console = wide_console()
    for result in results:
        for line in _summary(result):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    return 1 if any(len(result.problems) for result in results) else 0


def _summary(result: Any) -> list[str]:
    """What to say about one :class:`~fasttcm.data.prepare.run.PreparedSplit`."""
    if result.missing:
        return [f"{result.split}: not in the source ({result.missing})"]
    counts, problems = result.card["counts"], result.problems
    published = f" of {counts['published_images']} published" if counts["published_images"] else ""
    lines = [
        f"{result.card['name']}: {counts['images']}{published} images, {counts['words']} words "
        f"({counts['ignored']} do not care): {result.path.parent}"
    ]
    if result.card["lexicons"]:
        lines.append(f"  lexicons: {', '.join(result.card['lexicons'])}")
    if unsure := result.card["exif_orientation"].get("either"):
        lines.append(f"  {unsure} pictures with an EXIF rotation that their words fit either way; taken as displayed")
    if len(problems):
        lines.append(f"  {len(problems)} problems: {problems.summary()}")
        lines += [f"    {message}" for message in problems.messages[:SHOWN_PROBLEMS]]
        hidden = len(problems) - SHOWN_PROBLEMS
        lines += [f"    ... and {hidden} more"] if hidden > 0 else []
    return lines


def _print_list() -> None:
    """The table of names."""
    from rich.table import Table

    from fasttcm.data.prepare.recipes import RECIPES

    table = Table(title="fasttcm prepare NAME SRC DST")
    for column in ("NAME", "dataset", "files expected in SRC"):
        table.add_column(column, overflow="fold")
    table.add_column("images", justify="right")
    for recipe in RECIPES.values():
        images = "\n".join(f"{split} {count}" for split, count in recipe.images.items())
        table.add_row(recipe.name, recipe.title, recipe.expected, images)
    wide_console().print(table, markup=False, highlight=False)
