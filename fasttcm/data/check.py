"""Is a prepared dataset sound: every reference, image, outline, character and lexicon of it.

Findings are of two kinds. An **error** costs a word or an image, or teaches something wrong: a missing or damaged
image, another size than annotated, an outline that crosses itself or runs counter-clockwise, a curve that is somewhere
else than its polygon, a word or image listed twice, a card that does not fit its index. A **notice** is unusual and may
be right: a word across the border, an image without words, a character outside the charset, a first corner that the
rule of reading order would not have chosen.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from os import cpu_count
from pathlib import Path
from typing import Any

from fasttcm.charset import Charset
from fasttcm.data.annotations import ParsedAnnotation
from fasttcm.data.catalog import CARD_FILE, DatasetEntry
from fasttcm.data.coco import TextDataset
from fasttcm.data.dataset_statistics import DatasetStatistics
from fasttcm.data.images import image_size, read_image
from fasttcm.data.index import ImageTable
from fasttcm.data.problems import Problems
from fasttcm.data.reader import ImageRow, read_json
from fasttcm.data.strange import Oddities, StrangeWord
from fasttcm.data.word_shapes import WordShape, measure_word
from fasttcm.errors import DataError, ImageError

__all__ = ["CheckReport", "Finding", "check_dataset"]

DISAGREEMENT = 0.5
"""Distance of a polygon's point from its curve, in heights of the word, beyond which one of the two is wrong."""

SHEET_SIZE = 30

DIGEST_BLOCK = 1 << 20

Progress = Callable[[str, int, int | None], None]
"""``(what, done, total)``, called now and then; the total may be unknown."""

WORDS_A_STEP = 1000


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        severity: ``error`` or ``notice``.
        problem: what, in the same words for every such case.
        place: file and annotation or image.
        detail: the offending value.
    """

    severity: str
    problem: str
    place: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}" + (f": {self.detail}" if self.detail else "")


@dataclass
class CheckReport:
    """What :func:`check_dataset` found in one annotation file.

    Attributes:
        name: of the dataset.
        path: its annotation file.
        dataset: its images and words.
        findings: errors and notices in the order they were found.
        statistics: see :class:`~fasttcm.data.dataset_statistics.DatasetStatistics`.
        strangest: the words to look at first.
    """

    name: str
    path: Path
    dataset: TextDataset
    findings: list[Finding] = field(default_factory=list)
    statistics: dict[str, Any] = field(default_factory=dict)
    strangest: list[StrangeWord] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        """Findings that are errors."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """(severity, problem) -> how often."""
        return Counter((finding.severity, finding.problem) for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "name": self.name,
            "annotation_file": str(self.path),
            "sound": not self.errors,
            "findings": [vars(finding) for finding in self.findings],
            "statistics": self.statistics,
            "strangest": [
                vars(word) | {"file_name": self.dataset[word.image].file_name, "reasons": list(word.reasons)}
                for word in self.strangest
            ],
        }


def check_dataset(
    entry: DatasetEntry, *, charset: Charset | None = None, decode: bool = True, progress: Progress | None = None
) -> CheckReport:
    """Look at everything in one dataset; nothing found stops it.

    Args:
        entry: the dataset, see :func:`fasttcm.data.catalog.resolve_dataset`.
        charset: characters that transcriptions may hold; ``None`` for any.
        decode: decode every image; otherwise only the sizes in their headers are compared.
        progress: wraps the words and images that are gone through.

    Raises:
        DataError: the annotation file is missing, not JSON or not of this format.
    """
    progress = progress or _silent
    findings = _Findings()
    words = _WordCheck(findings, progress)
    table, categories = read_json(
        entry.annotation_file,
        entry.image_root,
        charset=charset,
        rec_charset=(charset if entry.rec_of_model else entry.rec_charset) or Charset.named("ascii"),
        filter_empty=False,
        problems=findings,
        visit=words,
    )
    _check_images(table, findings, decode=decode, progress=progress)
    for number in words.statistics.empty_images(len(table)):
        findings.notice("image without words", _image_place(table, number))
    _check_card(entry, findings, words=words.statistics.words, images=len(table))
    return CheckReport(
        name=entry.name,
        path=entry.annotation_file,
        dataset=TextDataset(name=entry.name, tables=[table], categories=categories, problems=findings),
        findings=findings.found,
        statistics=words.statistics.to_dict(table.sizes, categories),
        strangest=words.oddities.strangest(SHEET_SIZE),
    )


class _Findings(Problems):
    """Problems of the reader and our own, all of them with their places."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Finding] = []

    def add(self, reason: str, place: str, detail: str = "") -> None:
        """A problem of the reader: an error if something was left out or was there before."""
        severe = "skipped" in reason or "twice" in reason
        self.found.append(Finding("error" if severe else "notice", reason, place, detail))

    def error(self, problem: str, place: str, detail: str = "") -> None:
        """An error."""
        self.found.append(Finding("error", problem, place, detail))

    def notice(self, problem: str, place: str, detail: str = "") -> None:
        """A notice."""
        self.found.append(Finding("notice", problem, place, detail))


class _WordCheck:
    """Measures and judges every usable word while the file is read."""

    def __init__(self, findings: _Findings, progress: Progress) -> None:
        self.findings = findings
        self.progress = progress
        self.statistics = DatasetStatistics()
        self.oddities = Oddities()
        self._seen: set[int] = set()
        self._words_of: Counter[int] = Counter()

    def __call__(self, place: str, image: ImageRow, label: int, word: ParsedAnnotation) -> None:
        shape = measure_word(word, height=image.height, width=image.width)
        self.statistics.add(image.number, label, word, shape)
        self.oddities.add(image.number, self._words_of[image.number], place, shape)
        self._words_of[image.number] += 1
        self._judge(f"{place} in {image.file_name}", image.number, word, shape)
        if self.statistics.words % WORDS_A_STEP == 0:
            self.progress("words", self.statistics.words, None)

    def _judge(self, place: str, image: int, word: ParsedAnnotation, shape: WordShape) -> None:
        if shape.crosses:
            self.findings.error("outline crosses itself", place)
        if not shape.clockwise:
            self.findings.error("outline runs counter-clockwise", place)
        elif not shape.starts_well:
            self.findings.notice("starts at another corner than the rule of reading order finds", place)
        if shape.curve_distance > DISAGREEMENT:
            detail = f"by {shape.curve_distance:.1f} heights of the word"
            self.findings.error("curve and polygon disagree", place, detail)
        if shape.outside > 0:
            self.findings.notice("outline leaves the image", place, f"{shape.outside:.0%} of its points")
        outline = word.polygon if word.polygon is not None else word.bezier
        key = hash((image, word.text, b"" if outline is None else outline.round(2).tobytes()))
        if key in self._seen:
            self.findings.error("the same word twice", place, repr(word.text))
        self._seen.add(key)


def _image_place(table: ImageTable, number: int) -> str:
    return f"{table.root / table.file_names[number]} (image id {table.image_ids[number]})"


def _check_images(table: ImageTable, findings: _Findings, *, decode: bool, progress: Progress) -> None:
    """Open every image; several at a time, since decoding does not hold the interpreter."""
    names = Counter(table.file_names[number] for number in range(len(table)))
    for name in (name for name, count in names.items() if count > 1):
        findings.error("image file listed twice", f"{table.root / name}")

    def complaint(number: int) -> tuple[str, str] | None:
        path, wanted = table.root / table.file_names[number], tuple(table.sizes[number].tolist())
        try:
            found = read_image(path).shape[:2] if decode else image_size(path)
            if found == wanted[::-1] and found != wanted:  # marked on the stored picture, see mapper.read_record_image
                found = read_image(path, apply_exif=False).shape[:2]
        except ImageError as error:
            return "image cannot be read", str(error)
        if found != wanted:
            return "image is not of the annotated size", f"{found[1]} x {found[0]}, not {wanted[1]} x {wanted[0]}"
        return None

    with ThreadPoolExecutor(cpu_count()) as pool:
        results = _bounded(pool, complaint, len(table))
        for number, found in enumerate(results):
            progress("images", number + 1, len(table))
            if found is not None:
                findings.error(found[0], _image_place(table, number), found[1])


def _bounded(
    pool: ThreadPoolExecutor, work: Callable[[int], tuple[str, str] | None], count: int
) -> Iterator[tuple[str, str] | None]:
    """``pool.map`` over a range that queues a few hundred at a time, not millions."""
    numbers = iter(range(count))
    while chunk := list(islice(numbers, 256)):
        yield from pool.map(work, chunk)


def _check_card(entry: DatasetEntry, findings: _Findings, *, words: int, images: int) -> None:
    """The lexicons of the card exist; its checksum and counts are those of the index."""
    for what, files in (("lexicon", entry.lexicons), ("pairs of lexicon", entry.lexicon_pairs)):
        for name, path in files.items():
            if not path.exists():
                findings.error(
                    f"{what} of the card is missing", str(entry.annotation_file.parent / CARD_FILE), str(path)
                )
            elif path.is_dir() and not any(path.iterdir()):
                findings.error(f"{what} of the card is an empty folder", str(path), name)
    card_file = entry.annotation_file.parent / CARD_FILE
    if not card_file.is_file():
        return
    try:
        card = json.loads(card_file.read_text(encoding="utf-8-sig"))
        wanted = dict(card.get("sha256") or {}).get(entry.annotation_file.name)
        counts = dict(card.get("counts") or {})
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{card_file}: not a valid dataset card: {error}") from error
    if wanted is not None and wanted != _digest(entry.annotation_file):
        findings.error("checksum is not that of the card: the index was changed after it was written", str(card_file))
    for what, found in (("images", images), ("words", words)):
        if counts.get(what) not in (None, found):
            findings.error(f"number of {what} is not that of the card", str(card_file), f"{found}, not {counts[what]}")


def _digest(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(DIGEST_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _silent(what: str, done: int, total: int | None) -> None:
    """Progress nobody watches."""
