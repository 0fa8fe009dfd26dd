"""``fasttcm check``: is a dataset sound, what is in it, and which annotations should be looked at first."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from fasttcm.cli.options import wide_console

if TYPE_CHECKING:
    from fasttcm.data.check import CheckReport

__all__ = ["add_parser", "run"]

EXAMPLES = """examples:
  fasttcm check totaltext_train
  fasttcm check datasets/icdar2015 --report report.json
  fasttcm check my_words --charset ascii --strict

errors cost a word or an image, or teach something wrong; notices are unusual and may be right. strangest.jpg shows the
30 annotations that are most unlike the others, with the reasons; blue: the outline, amber: its top side, red dot: the
first point, thin red: the curve.

exit code: 0 sound, 1 errors (with --strict: or notices), 2 a mistake (one line says what and where)
"""

SHOWN_FINDINGS = 50
COMMON_CHARACTERS = 40
QUALITY = 90


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "check", help="validate a dataset", description=__doc__, epilog=EXAMPLES
    )
    parser.add_argument("dataset", metavar="DATASET", help="a name, a folder, a folder of splits, or a JSON file")
    parser.add_argument("--report", metavar="FILE", help="write findings and statistics as JSON")
    parser.add_argument(
        "--output", metavar="DIR", default=".", help="where to write strangest.jpg (default: the current folder)"
    )
    parser.add_argument("--charset", metavar="NAME", help="report characters outside ascii, lower36 or a file's list")
    parser.add_argument("--no-decode", action="store_true", help="read only the headers of the images")
    parser.add_argument("--strict", action="store_true", help="notices count as errors")
    return parser


def run(options: argparse.Namespace) -> int:
    """Check every split, print the findings and the statistics."""
    from fasttcm.charset import Charset
    from fasttcm.data.catalog import resolve_splits
    from fasttcm.data.check import check_dataset

    charset = Charset.named(options.charset) if options.charset else None
    reports = []
    entries = resolve_splits(options.dataset)
    for entry in entries:
        with _Bars(entry.name) as bars:
            report = check_dataset(entry, charset=charset, decode=not options.no_decode, progress=bars)
        reports.append(report)
        _print_report(report)
        name = "strangest.jpg" if len(entries) == 1 else f"strangest_{entry.name}.jpg"
        if report.strangest:
            _write_sheet(report, Path(options.output) / name)
    if options.report:
        Path(options.report).parent.mkdir(parents=True, exist_ok=True)
        content = [report.to_dict() for report in reports]
        Path(options.report).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    bad = any(report.findings if options.strict else report.errors for report in reports)
    return 1 if bad else 0


class _Bars:
    """A progress bar for each thing gone through; called with what, how many, of how many."""

    def __init__(self, name: str) -> None:
        columns = (TextColumn(f"{name}: {{task.description}}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "_Bars":
        self._progress.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._progress.__exit__(*exception)

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done)


def _print_report(report: "CheckReport") -> None:
    """Findings by kind with the first places, then the statistics."""
    console = wide_console()
    errors, notices = len(report.errors), len(report.findings) - len(report.errors)
    verdict = "sound" if not errors else "not sound"
    console.print(
        f"{report.name}: {verdict}, {errors} errors, {notices} notices ({report.path})",
        style="bold red" if errors else "bold green",
        highlight=False,
        soft_wrap=True,
    )
    for (severity, problem), count in sorted(report.counts.items()):
        console.print(f"  {severity}: {count} x {problem}", markup=False, highlight=False, soft_wrap=True)
    shown = sorted(report.findings, key=lambda finding: finding.severity != "error")[:SHOWN_FINDINGS]
    for finding in shown:
        console.print(f"    {finding.severity}: {finding}", markup=False, highlight=False, soft_wrap=True)
    if len(report.findings) > len(shown):
        print(f"    ... and {len(report.findings) - len(shown)} more (--report FILE lists all)")
    console.print(_statistics_table(report), markup=False, highlight=False)


def _statistics_table(report: "CheckReport") -> Table:
    table = Table(title=report.name, show_header=False)
    for key, value in report.statistics.items():
        if key == "characters":
            value = " ".join(
                f"{c!r}:{n}" if c.isspace() else f"{c}:{n}" for c, n in [*value.items()][:COMMON_CHARACTERS]
            )
        elif isinstance(value, dict):
            value = "  ".join(f"{name}: {number}" for name, number in value.items())
        table.add_row(key.replace("_", " "), str(value))
    return table


def _write_sheet(report: "CheckReport", path: Path) -> None:
    """Draw the strangest words and list them; one whose image cannot be read is listed only."""
    import numpy as np
    from PIL import Image

    from fasttcm.cli.word_pictures import Tile, close_up, contact_sheet
    from fasttcm.data.mapper import read_record_image
    from fasttcm.errors import ImageError
    from fasttcm.geometry import sample_sides

    tiles = []
    for rank, word in enumerate(report.strangest, 1):
        record = report.dataset[word.image]
        targets, k = record.targets, word.position
        annotation = word.place.rpartition(": ")[2]
        lines = [
            f"{rank}. {targets.texts[k]!r} ({word.score:.1f})",
            ", ".join(word.reasons),
            record.file_name,
            annotation,
        ]
        try:
            curve = sample_sides(targets.beziers[k].numpy())
            picture = close_up(read_record_image(record), targets.polygons[k], curve, ignore=bool(targets.ignore[k]))
        except ImageError:
            picture = np.full((100, 200, 3), 220, np.uint8)
            lines.append("the image cannot be used")
        tiles.append(Tile(picture, [line for line in lines if line]))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet(tiles)).save(path, quality=QUALITY)
    print(f"{path}: the {len(tiles)} strangest annotations", file=sys.stderr)
