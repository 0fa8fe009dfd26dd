"""``fasttcm score``: figures of predictions against ground truth, as the published scripts give them."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fasttcm.cli.options import wide_console
from fasttcm.errors import ConfigError, DataError

__all__ = ["add_parser", "run"]

LEXICONS = ("none", "full", "strong", "weak", "generic")
DOTA_VERSIONS = {"dota1.0": "1.0", "dota1.5": "1.5"}
PAGE = "index.html"
SHOWN_REPAIRS = 5

EXAMPLES = """examples:
  fasttcm score --ground-truth gt.json --predictions predictions.json --protocol totaltext --report report/
  fasttcm score --ground-truth gt_totaltext.zip --predictions text_results.json --flavour deepsolo \\
      --lexicon full --lexicon-path totaltext/weak_voc_new.txt --pairs totaltext/weak_voc_pair_list.txt
  fasttcm score --ground-truth gt_icdar2015.zip --predictions det.zip --protocol icdar2015 --flavour script \\
      --lexicon strong --lexicon-path icdar2015/new_strong_lexicon/ --json figures.json
  fasttcm score --ground-truth labelTxt/ --predictions Task1_tiles/ --protocol dota1.0 --merge result_merge

formats, recognised by content:
  our JSON {"images": [{"id", "width", "height", "words": [{"points", "text", "score"}]}]}, COCO-style JSON,
  AdelaiDet's text_results.json, a published gt_*.zip or det.zip, a folder of text files; see docs/evaluation.md;
  DOTA: the folder of <image>.txt annotations and the folder of Task1_<class>.txt detections

exit code: 0 done, 1 a picture of the report could not be read, 2 a mistake in a file or option (one line says where)
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "score", help="score predictions without a model", description=__doc__, epilog=EXAMPLES
    )
    parser.add_argument("--ground-truth", required=True, metavar="GT", help="file or folder, see formats below")
    parser.add_argument("--predictions", required=True, metavar="PRED", help="file or folder, see formats below")
    parser.add_argument(
        "--protocol",
        default="totaltext",
        metavar="NAME",
        help="totaltext (default), ctw1500, inversetext, icdar2015, custom; places only: db, db_deteval, "
        "db_icdar2013, db_mtwi2018, db_script, db_script_ranked, mmocr, mmocr_ic13; oriented boxes: dota1.0, dota1.5",
    )
    parser.add_argument(
        "--flavour",
        metavar="NAME",
        help="follow the whole path of adelaidet, deepsolo or testr from predictions to figures, or script: that of "
        "finished archives; default: outlines are mended, not dropped",
    )
    parser.add_argument("--lexicon", default="none", choices=LEXICONS, help="score also with a lexicon (default none)")
    parser.add_argument("--lexicon-path", metavar="FILE_OR_FOLDER", help="one entry per line; strong: the folder")
    parser.add_argument("--pairs", metavar="FILE", help="'KEY spelling' lines for the lexicon's entries")
    parser.add_argument("--lexicon-rule", metavar="NAME", help="how far a word may be; default: the flavour's rule")
    parser.add_argument("--confidence", type=float, metavar="T", help="lowest score that counts")
    parser.add_argument("--strict", action="store_true", help="refuse what would be mended or passed over")
    parser.add_argument("--json", metavar="OUT", help="write all figures, with every image, here")
    parser.add_argument("--archive", metavar="ZIP", help="write the submission that the public servers accept here")
    parser.add_argument("--report", metavar="DIR", help="write a page with curves and every mistake drawn here")
    parser.add_argument("--images", metavar="DIR", help="image files for the report; without: blank sheets")
    parser.add_argument(
        "--report-images", type=int, default=60, metavar="N", help="images on the report's page (default 60)"
    )
    parser.add_argument("--metric", default="voc07", choices=("voc07", "area"), help="DOTA's average precision")
    parser.add_argument(
        "--merge",
        choices=("result_merge", "result_merge_multi_process"),
        help="DOTA: PRED are tiles, merge them as that script does (suppression above 0.3 and 0.1)",
    )
    return parser


def run(options: argparse.Namespace) -> int:
    """Print a table and the published result lines; returns 1 when a picture of the report could not be read."""
    from fasttcm.evaluation.formats import align_ids, load_words
    from fasttcm.evaluation.report import figures_table
    from fasttcm.evaluation.run import headline, published_lines, results_json, score_with_lexicons

    if options.protocol in DOTA_VERSIONS:
        return _run_dota(options)
    _check(options)
    truth = load_words(options.ground_truth, role="ground truth", strict=options.strict)
    found = align_ids(truth, load_words(options.predictions, role="predictions", strict=options.strict))
    lexicons = _lexicons(options, truth)
    results = score_with_lexicons(
        truth,
        found,
        lexicons,
        protocol=options.protocol,
        flavour=options.flavour,
        confidence=options.confidence,
    )
    without = len(truth["images"]) - len(found["images"])
    if without and options.strict:
        raise DataError(
            f"{found['source']}: {without} of {len(truth['images'])} images are missing (refused by --strict)"
        )
    console = wide_console()
    console.print(figures_table(headline(results), title=_title(options)))
    for line in published_lines(results):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if without:
        console.print(f"images without predictions, scored as empty: {without}", highlight=False)
    for document in (truth, found):
        _print_repairs(console, document["source"], document["repairs"])
    if options.json:
        document = {**results_json(results), "confidence": options.confidence}
        _write(Path(options.json), json.dumps(document, indent=1, ensure_ascii=False))
    if options.archive:
        from fasttcm.evaluation.archives import write_archive

        write_archive(
            options.archive,
            found,
            protocol=options.protocol,
            flavour=options.flavour,
            confidence=options.confidence,
            lexicon=next(iter(lexicons.values()), None),
        )
    problems = _report(options, truth, found, results) if options.report else []
    if options.report:
        console.print(f"report: {Path(options.report) / PAGE}", markup=False, highlight=False, soft_wrap=True)
    for line in problems:
        console.print(line, style="red", markup=False, highlight=False)
    return 1 if problems else 0


def _run_dota(options: argparse.Namespace) -> int:
    """Print average precision by class; files and folders as the DOTA development kit has them."""
    from rich.table import Table

    from fasttcm.evaluation import merge_tiles, score_dota

    for name in ("flavour", "lexicon_path", "pairs", "confidence", "archive", "report", "images"):
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} does not go with --protocol {options.protocol}")
    found = merge_tiles(options.predictions, rule=options.merge) if options.merge else options.predictions
    version = DOTA_VERSIONS[options.protocol]
    result = score_dota(options.ground_truth, found, version=version, metric=options.metric, strict=options.strict)
    table = Table(title=f"{options.protocol}, {options.metric}")
    table.add_column("class")
    table.add_column("average precision", justify="right")
    for name, figures in result.classes.items():
        table.add_row(name, f"{100 * figures.average_precision:.2f}")
    table.add_section()
    table.add_row("mean", f"{100 * result.mean_average_precision:.2f}")
    console = wide_console()
    console.print(table)
    console.print(f"mAP: {result.mean_average_precision}", highlight=False)
    if options.json:
        _write(Path(options.json), json.dumps(result.to_dict(), indent=1))
    return 0


def _print_repairs(console: Any, source: str, repairs: list[str]) -> None:
    """Say what was put right in a file: how much, and the first lines."""
    if repairs:
        console.print(f"{source}: put right {len(repairs)} (--strict refuses them)", highlight=False)
    for line in repairs[:SHOWN_REPAIRS]:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def _check(options: argparse.Namespace) -> None:
    """Raise for options that contradict each other."""
    if options.lexicon == "none" and (options.lexicon_path or options.pairs or options.lexicon_rule):
        raise ConfigError("--lexicon-path, --pairs and --lexicon-rule need --lexicon full, strong, weak or generic")
    if options.lexicon != "none" and not options.lexicon_path:
        raise ConfigError(f"--lexicon {options.lexicon} needs --lexicon-path, the word file or its folder")
    if options.images and not options.report:
        raise ConfigError("--images needs --report, the folder of the page")
    if options.images and not Path(options.images).is_dir():
        raise ConfigError(f"--images {options.images}: no such folder")
    if options.confidence is not None and not 0 <= options.confidence <= 1:
        raise ConfigError(f"--confidence must be within 0 to 1, got {options.confidence}")
    if options.report_images < 0:
        raise ConfigError(f"--report-images must be at least 0, got {options.report_images}")


def _lexicons(options: argparse.Namespace, truth: Mapping[str, Any]) -> dict[str, Any]:
    """The lexicon asked for, by its name."""
    from fasttcm.evaluation.lexicon_files import load_lexicon

    if options.lexicon == "none":
        return {}
    lexicon = load_lexicon(
        options.lexicon_path,
        options.pairs,
        kind=options.lexicon,
        image_ids=[entry["id"] for entry in truth["images"] if isinstance(entry, dict) and "id" in entry],
        protocol=options.protocol,
        flavour=options.flavour,
        rule=options.lexicon_rule,
    )
    return {options.lexicon: lexicon}


def _title(options: argparse.Namespace) -> str:
    """Headline of the table and the page."""
    parts = [options.protocol] + ([f"as {options.flavour}"] if options.flavour else [])
    return ", ".join(parts + ([f"confidence {options.confidence:g}"] if options.confidence is not None else []))


def _report(
    options: argparse.Namespace, truth: Mapping[str, Any], found: Mapping[str, Any], results: dict[str, Any]
) -> list[str]:
    """Write the page; returns what could not be read."""
    from fasttcm.engine.score_page import ScoredSet, write_score_page
    from fasttcm.evaluation.curve import curve_of
    from fasttcm.evaluation.run import headline

    references, answers = ({str(entry["id"]): entry for entry in side["images"]} for side in (truth, found))
    curve = curve_of(list(results.values())[-1], truth, found)
    lead = [f"{options.predictions} against {options.ground_truth}, {len(references)} images."]
    if options.lexicon != "none":
        lead.append(f"The images and curves below are those with the lexicon {options.lexicon}.")
    page = Path(options.report) / PAGE
    try:
        return write_score_page(
            page,
            ScoredSet(results, headline(results), references, answers, curve),
            title=f"Score: {_title(options)}",
            lead=lead,
            image_folder=Path(options.images) if options.images else None,
            pictures=options.report_images,
        )
    except OSError as error:
        raise ConfigError(f"{page}: cannot be written ({error.strerror})") from error


def _write(path: Path, text: str) -> None:
    """Write a file, with its folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
