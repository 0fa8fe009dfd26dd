"""The public text archives, zipped or as folders: read into the scorer's JSON, and written as submissions.

The published scripts stop at a byte-order mark, an outline of the wrong direction or a file they do not know (SPEC
``evaluation`` sections 3, 4, 5.2 and 5.3). Here such things are put right and listed, or under ``strict`` refused.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from fasttcm.errors import DataError
from fasttcm.evaluation.archive_files import TextFile, read_files
from fasttcm.evaluation.archive_lines import LAYOUTS, Layout, parse_line, quote, signed_area, sort_corners
from fasttcm.evaluation.flavours import Flavour, Prepared, find_flavour, prepare
from fasttcm.evaluation.lexicon import Lexicon
from fasttcm.evaluation.polygons import MIN_POINTS, valid_outlines
from fasttcm.evaluation.protocol import Protocol, find_protocol
from fasttcm.evaluation.records import ImageWords, Source, read_images
from fasttcm.evaluation.rotated_box import polygon_to_box

__all__ = ["read_archive", "write_archive"]

BOM = "\ufeff"
"""Byte-order mark: with it in front, the published scripts take a file for something else than UTF-8."""

LayoutName = Literal["curve", "icdar2015"]


@dataclass
class _Log:
    """What was put right, each with its place; under ``strict`` the first one raises."""

    strict: bool
    repairs: list[str] = field(default_factory=list)

    def mend(self, place: str, what: str) -> None:
        """Note one repair."""
        if self.strict:
            raise DataError(f"{place}: {what}")
        self.repairs.append(f"{place}: {what}")


def read_archive(
    path: str | Path,
    *,
    role: Literal["ground truth", "predictions"],
    layout: LayoutName | None = None,
    strict: bool = False,
    sort_anticlockwise: bool = False,
) -> dict[str, Any]:
    """Read ground truth or a submission.

    Args:
        path: zip archive or folder of text files, one per image.
        role: which of the two it is; predictions may lack transcriptions, ground truth may not.
        layout: ``curve`` (Total-Text, CTW1500, Inverse-Text, TESTR's ICDAR 2015; ``<number>.txt``) or ``icdar2015``
            (``gt_img_<number>.txt``, ``res_img_<number>.txt``); ``None``: recognised by the names.
        strict: refuse what the published script refuses, instead of putting it right: a byte-order mark, text that
            is no UTF-8, an unknown file among the predictions, an outline of the wrong direction (curve:
            anticlockwise as seen is right, ICDAR 2015: clockwise) or, in the curve layout, one that crosses itself,
            coordinates that are no whole numbers (ICDAR 2015), a missing transcription. Image ids are then the
            digits of the names as texts: to the script, ``1`` and ``0000001`` are two images. Otherwise they are
            whole numbers.
        sort_anticlockwise: put the corners of ICDAR 2015 outlines that run the wrong way in order, as TCM's copy of
            the script does, instead of taking them for wrong.

    Returns:
        ``{"images": [{"id", "words": [{"points", "text"}]}], "repairs": [...]}`` as :func:`fasttcm.evaluation.score`
        takes it; ``repairs`` has a sentence for each thing put right. An outline that crosses itself stays as it is.

    Raises:
        DataError: for an archive, a file or a line that cannot be read: file, line number and what is wrong.
    """
    path = Path(path)
    files = read_files(path)
    rules = LAYOUTS[layout] if layout else _recognise(path, files, role)
    log = _Log(strict)
    images: dict[str, dict[str, Any]] = {}
    for name, content in files:
        base = name if strict else PurePosixPath(name).name
        found = rules.pattern(role).fullmatch(base)
        if found is None:
            if role == "predictions":
                log.mend(f"{path}: {name}", "no file name of a submission; left out")
            continue
        key = found[1] if strict else int(found[1])
        if str(key) in images:
            raise DataError(f"{path}: {name}: a second file for image {key}; keep one")
        words = _read_words(content, f"{path}: {name}", rules, role, log, sort_anticlockwise)
        images[str(key)] = {"id": key, "words": words}
    if not images and role == "ground truth":
        raise DataError(f"{path}: no file is called {rules.ground_truth.pattern}; is this the ground truth?")
    return {"images": list(images.values()), "repairs": log.repairs}


def write_archive(
    path: str | Path,
    predictions: Source,
    *,
    protocol: str | Protocol,
    flavour: str | None = None,
    confidence: float | None = None,
    lexicon: Lexicon | Mapping[str, Lexicon] | None = None,
) -> dict[str, dict[str, list[int]]]:
    """Write the zip archive of a submission.

    Args:
        path: the zip file, replaced when it exists.
        predictions: the scorer's JSON or its path; image ids are whole numbers.
        protocol: decides about the layout; ICDAR 2015's takes four whole corners, so that outlines with more points
            become their smallest rotated rectangle.
        flavour: a published project: byte for byte what its evaluator writes (a file for each image with a score
            above its minimum, words as they come). ``None``: our own: a file for every image, fractions of pixels
            where the layout has them, every outline in the direction the script wants.
        confidence: as in :func:`fasttcm.evaluation.score`.
        lexicon: as in :func:`fasttcm.evaluation.score`; with it the "full" archive is written, otherwise "none".

    Returns:
        By image id, positions of the words left out, by reason: the scripts refuse outlines that cross themselves
        in the curve layout, and those without three points in both.

    Raises:
        DataError: for malformed predictions, an id that is no whole number, or a file that cannot be written.
        ConfigError: for an unknown protocol or flavour.
    """
    style = find_flavour(flavour)
    rules = style.rules(find_protocol(protocol))
    layout = LAYOUTS["icdar2015" if rules.name == "icdar2015" and not style.curve_only else "curve"]
    removed: dict[str, dict[str, list[int]]] = {}
    contents: dict[str, str] = {}
    for key, image in read_images(predictions, role="predictions", text_required=False).items():
        if not key.isascii() or not key.isdecimal():
            raise DataError(f"image {key}: archives name images by whole numbers; give it a number as id")
        table = lexicon.get(key) if isinstance(lexicon, Mapping) else lexicon
        if lexicon is not None and table is None:
            raise DataError(f"no lexicon for image {key}; give one per image id or one for the whole set")
        prepared = prepare(
            image.words, flavour=style, protocol=rules, confidence=confidence, lexicon=table, size=image.size
        )
        lines, invalid = _lines(prepared, layout, style, fractional=rules.name in style.fractional, size=image.size)
        removed[key] = {**prepared.removed}
        removed[key].setdefault("invalid_polygon", []).extend(prepared.kept[row] for row in invalid)
        name = layout.submission.format(int(key))
        if name in contents:
            raise DataError(f"image {key}: another image is called {name} too; give each image its own number")
        if _has_file(image, prepared.removed, style):
            contents[name] = "".join(f"{line}\n" for line in lines)
    _write_zip(Path(path), contents)
    return removed


def _recognise(path: Path, files: Sequence[TextFile], role: str) -> Layout:
    """The layout whose names occur; the curve layout for an empty submission."""
    names = [PurePosixPath(name).name for name, _ in files]
    fitting = [layout for layout in LAYOUTS.values() if any(layout.pattern(role).fullmatch(name) for name in names)]
    if len(fitting) == 1:
        return fitting[0]
    if not names and role == "predictions":
        return LAYOUTS["curve"]
    known = " or ".join(layout.pattern(role).pattern.replace("\\", "") for layout in LAYOUTS.values())
    problem = "files of two layouts" if fitting else "no file"
    raise DataError(f"{path}: {problem} with names of {role} ({known}); name the layout or the right archive")


def _read_words(
    content: bytes, place: str, layout: Layout, role: str, log: _Log, sort_anticlockwise: bool
) -> list[dict[str, Any]]:
    """Words of one file."""
    words: list[dict[str, Any]] = []
    numbers: list[int] = []
    for number, line in enumerate(_decode(content, place, log).replace("\r", "").split("\n"), 1):
        if not line:
            continue
        where = f"{place}, line {number}"
        if not line.strip():
            log.mend(where, "only white space; left out")
            continue
        try:
            points, text, mended = parse_line(line, layout=layout, text_required=role == "ground truth")
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        for what in mended:
            log.mend(where, what)
        if sort_anticlockwise and layout.name == "icdar2015" and signed_area(points) < 0:
            points = sort_corners(points)
        words.append({"points": points, "text": text})
        numbers.append(number)
    _check_outlines(words, [f"{place}, line {number}" for number in numbers], layout, log)
    return words


def _check_outlines(words: Sequence[Mapping[str, Any]], places: Sequence[str], layout: Layout, log: _Log) -> None:
    """Note outlines that the published script refuses; a direction alone changes no figure."""
    enough = [row for row, word in enumerate(words) if len(word["points"]) >= MIN_POINTS]
    outlines = [np.array(words[row]["points"], np.float64) for row in enough]
    places = [places[row] for row in enough]
    if layout.name == "curve":
        for place, good in zip(places, valid_outlines(outlines), strict=True):
            if not good:
                log.mend(place, "the outline crosses itself or has no area")
    for place, outline in zip(places, outlines, strict=True):
        area = signed_area(outline)
        if area > 0 if layout.name == "curve" else area < 0:
            wanted = "anticlockwise" if layout.name == "curve" else "clockwise"
            log.mend(place, f"the points do not run {wanted} as seen in the image")


def _decode(content: bytes, place: str, log: _Log) -> str:
    """The text of a file, without a byte-order mark."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        log.mend(f"{place}, line {number}", "the text is no UTF-8; such bytes become U+FFFD")
        text = content.decode("utf-8", errors="replace")
    if text.startswith(BOM):
        log.mend(f"{place}, line 1", "a byte-order mark stands in front; dropped")
        text = text.removeprefix(BOM)
    return text


def _lines(
    prepared: Prepared, layout: Layout, style: Flavour, *, fractional: bool, size: tuple[int, int] | None
) -> tuple[list[str], list[int]]:
    """Lines of one image, and the rows that have none because the script refuses their outline."""
    polygons = prepared.polygons
    if layout.name == "icdar2015":
        polygons = [_four_corners(polygon, size) for polygon in polygons]
        good = np.array([len(polygon) == 4 for polygon in polygons], bool)
    else:
        good = valid_outlines(polygons)
    lines = []
    for polygon, text, keep in zip(polygons, prepared.texts, good, strict=True):
        if keep:
            area = signed_area(polygon)
            if area > 0 if layout.name == "curve" else area < 0 and not style.archives:
                polygon = polygon[::-1]
            values = polygon.reshape(-1).tolist()
            numbers = [str(int(v)) if v == int(v) and not fractional else repr(v) for v in values]
            flat = text.replace("\r", " ").replace("\n", " ")
            written = flat if style.archives else quote(text, stripped=layout.name == "curve")
            lines.append(",".join(numbers) + (",####" if layout.name == "curve" else ",") + written)
    return lines, np.flatnonzero(~good).tolist()


def _four_corners(polygon: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Whole corners: the four given, or those of the smallest rotated rectangle; empty below three points."""
    if len(polygon) == 4:
        return np.rint(polygon)
    return polygon_to_box(polygon, size) if len(polygon) > 2 else polygon[:0]


def _has_file(image: ImageWords, removed: Mapping[str, Sequence[int]], style: Flavour) -> bool:
    """Whether the project writes a file for an image, maybe an empty one."""
    if not style.archives:
        return True
    unknown = set(removed.get("not_in_lexicon", ())) if style.lexicon_first else set()
    return any(word.score > style.minimum_score for i, word in enumerate(image.words) if i not in unknown)


def _write_zip(path: Path, contents: Mapping[str, str]) -> None:
    """Pack the texts; the same texts give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content.encode("utf-8"))
    try:
        path.write_bytes(buffer.getvalue())
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
