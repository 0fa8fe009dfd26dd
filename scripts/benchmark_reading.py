"""Our spotter beside Tesseract and RapidOCR: the same pictures, the same protocol, in one run.

    python scripts/benchmark.py reading datasets/held_out --weights output/mine/model_final.safetensors
    python scripts/benchmark.py reading icdar2015_test --search --threads 1 --limit 50 --json reading.json
    python scripts/benchmark.py reading photos/ --weights model.safetensors --opts INPUT.MIN_SIZE_TEST 736

Every tool gets the same decoded pixels and as many threads, and its words are scored without a lexicon and without
regard to case. How the lines of RapidOCR become words is told in `benchmark_reading_tools.py`. A tool runs in its
usual setting; with `--search` the others run in every setting they have (for Tesseract the modes 11, 12 and 3, for
RapidOCR two ways to cut words, for both two sizes of the picture and several lowest scores), and the table shows the
one with the highest end-to-end hmean on the very pictures that are scored, which favours them. A tool that is not
installed is left out.

The tools take turns picture by picture, so that a machine that slows down slows all of them. CPU seconds are those of
all threads and of the process that Tesseract is, its start included.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import torch
from benchmark_reading_tools import Reader, ToolMissingError, our_readers, rapidocr_readers, tesseract_readers
from rich.console import Console
from rich.progress import track
from rich.table import Table

from fasttcm.data.catalog import load_dataset, resolve_dataset
from fasttcm.data.coco import Record
from fasttcm.data.mapper import read_record_image
from fasttcm.errors import ConfigError, FastTCMError
from fasttcm.evaluation import Figures, score, targets_to_json
from fasttcm.evaluation.protocol import find_protocol

__all__ = ["Row", "best_rows", "compare_readers", "main", "markdown_table", "usable_readers"]

DEFAULT_WEIGHTS = "compact"
"""Checkpoint of our row when ``--weights`` is not given: the model that comes with the package."""

COLUMNS = ("tool", "setting", "detection P", "R", "hmean", "end-to-end P", "R", "hmean", "CPU s", "wall s", "threads")
TEXT_COLUMNS = 2
WIDTH = 160


@dataclass(frozen=True)
class Row:
    """One tool in one setting.

    Attributes:
        tool: its name.
        setting: how it ran.
        detection: figures over places.
        end_to_end: figures over places and texts.
        cpu: CPU seconds a picture, of all threads and child processes.
        wall: seconds a picture.
        threads: that it was given.
    """

    tool: str
    setting: str
    detection: Figures
    end_to_end: Figures
    cpu: float
    wall: float
    threads: int

    def cells(self) -> list[str]:
        """Texts of the table; rates in per cent."""
        rates = [
            f"{100 * rate:.1f}"
            for figures in (self.detection, self.end_to_end)
            for rate in (figures.precision, figures.recall, figures.hmean)
        ]
        return [self.tool, self.setting, *rates, f"{self.cpu:.2f}", f"{self.wall:.2f}", str(self.threads)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values with full floats."""
        return {**asdict(self), "detection": self.detection.to_dict(), "end_to_end": self.end_to_end.to_dict()}


def compare_readers(readers: Sequence[Reader], records: Sequence[Record], *, protocol: str, threads: int) -> list[Row]:
    """Read every picture with every reader in turn and score what they found.

    Args:
        readers: tools with their settings.
        records: pictures with their words.
        protocol: name of a protocol that compares texts.
        threads: for the table; the readers have them already.

    Raises:
        ConfigError: the protocol is unknown or looks at places only.
        ImageError: a picture cannot be used.
    """
    rules = find_protocol(protocol)
    found: list[list[dict[str, Any]]] = [[] for _ in readers]
    spent = [(0.0, 0.0)] * len(readers)
    for number, record in enumerate(track(records, "reading", transient=True)):
        image = read_record_image(record)
        for place, reader in enumerate(readers):
            if not number:
                reader.read(image)  # fills caches and workspaces
            cpu, wall = _cpu_seconds(), time.perf_counter()
            words = reader.read(image)
            spent[place] = spent[place][0] + _cpu_seconds() - cpu, spent[place][1] + time.perf_counter() - wall
            entry = {"id": record.image_id, "width": record.width, "height": record.height, "words": words}
            found[place].append(entry)
    truth = {
        "images": [
            targets_to_json(r.targets, image_id=r.image_id, height=r.height, width=r.width, file_name=r.file_name)
            for r in records
        ]
    }
    rows = []
    for reader, images, (cpu, wall) in zip(readers, found, spent, strict=True):
        each = cpu / len(records), wall / len(records)
        for confidence in reader.confidences:
            result = score(truth, {"images": images}, protocol=rules, confidence=confidence)
            assert result.end_to_end is not None, "protocols with texts have end-to-end figures"
            setting = f"{reader.setting}, score >= {confidence:g}" if confidence else reader.setting
            rows.append(Row(reader.tool, setting, result.detection, result.end_to_end, *each, threads))
    return rows


def _cpu_seconds() -> float:
    """CPU time of this process with its threads, and of its children that ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def best_rows(rows: Sequence[Row]) -> list[Row]:
    """Of every tool the setting with the highest end-to-end hmean; detection decides between equals."""
    best: dict[str, Row] = {}
    for row in rows:
        if row.tool not in best or _merit(row) > _merit(best[row.tool]):
            best[row.tool] = row
    return list(best.values())


def _merit(row: Row) -> tuple[float, float]:
    return row.end_to_end.hmean, row.detection.hmean


def usable_readers(
    factories: Sequence[Callable[[], list[Reader]]], *, search: bool, say: Callable[[str], object]
) -> list[Reader]:
    """The readers of the tools that are there, without ``search`` the first of each; ``say`` gets a line for others.

    Raises:
        ConfigError: none is there.
    """
    readers: list[Reader] = []
    for factory in factories:
        try:
            settings = factory()
        except ToolMissingError as missing:
            say(str(missing))
        else:
            usual = replace(settings[0], confidences=settings[0].confidences[:1])
            readers += settings if search else [usual]
    if not readers:
        raise ConfigError("no tool to compare: install one of those above")
    return readers


def markdown_table(title: str, rows: Sequence[Row]) -> str:
    """The table in Markdown, ending with a newline."""
    rules = [":--"] * TEXT_COLUMNS + ["--:"] * (len(COLUMNS) - TEXT_COLUMNS)
    lines = [COLUMNS, rules, *(row.cells() for row in rows)]
    return f"{title}\n\n" + "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _print_table(console: Console, title: str, rows: Sequence[Row]) -> None:
    table = Table(title=title)
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if number < TEXT_COLUMNS else "right")
    for row in rows:
        table.add_row(*row.cells())
    console.print(table)


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmark.py reading", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="a dataset's name, or a folder with annotations.json")
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS, metavar="FILE", help="checkpoint of our spotter")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")
    parser.add_argument("--protocol", metavar="NAME", help="default: that of the dataset's card, or else totaltext")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of every tool (default 2)")
    parser.add_argument("--search", action="store_true", help="try every setting of every tool; show the best")
    parser.add_argument("--json", metavar="OUT", help="write the rows, with --search those of all settings, here")
    parser.add_argument("--markdown", metavar="OUT", help="write the table in Markdown here")
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="settings of our spotter to change")
    return parser


def _run(options: argparse.Namespace) -> None:
    for name in ("limit", "threads"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} must be at least 1, got {value}")
    protocol = options.protocol or resolve_dataset(options.dataset).protocol
    find_protocol(protocol)  # before the long part
    dataset = load_dataset(options.dataset)
    records = [dataset[i] for i in range(len(dataset))][: options.limit]
    if not records:
        raise ConfigError(f"dataset {options.dataset}: no picture to read")
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    readers = usable_readers(
        [
            lambda: our_readers(options.weights, options.opts),
            lambda: tesseract_readers(options.threads),
            lambda: rapidocr_readers(options.threads),
        ],
        search=options.search,
        say=lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True),
    )
    rows = compare_readers(readers, records, protocol=protocol, threads=options.threads)
    words = rows[0].end_to_end.ground_truth
    title = f"{options.dataset}, {len(records)} pictures, {words} words to read, protocol {protocol}; seconds a picture"
    _print_table(console, title, best_rows(rows))
    if options.json:
        facts = {"dataset": options.dataset, "pictures": len(records), "protocol": protocol, "searched": options.search}
        _write(options.json, json.dumps(_document(facts, rows), indent=1))
    if options.markdown:
        _write(options.markdown, markdown_table(title, best_rows(rows)))


def _document(facts: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """What ``--json`` writes: the rows of the table, and those of all settings."""
    best = best_rows(rows)
    return {**facts, "rows": [row.to_dict() for row in best], "settings": [row.to_dict() for row in rows]}


def main(arguments: Sequence[str]) -> int:
    """Run the comparison; returns the exit code: 0 done, 2 a mistake (one line says where)."""
    try:
        _run(_parser().parse_args(arguments))
    except FastTCMError as error:
        print(f"benchmark.py reading: error: {error}", file=sys.stderr)
        return 2
    return 0
