"""One split of a dataset, written as our JSON: what every reader leaves to be done.

Pictures are taken one by one and nothing is held but counters, so a set of a million pictures needs no more memory
than a small one. The index is put together in anonymous temporary files and renamed when all else is in place.
"""

import hashlib
import json
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.images import read_image
from fasttcm.data.prepare.annotation import Outline, annotation, fit_curves, outline_of
from fasttcm.data.prepare.archive import ARCHIVE_ERRORS
from fasttcm.data.prepare.image_header import marked_size, read_header
from fasttcm.data.prepare.images import ImagePlaces
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.rows import ESCAPE, Collected, encode
from fasttcm.data.prepare.source import Source
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError, ImageError

__all__ = ["INDEX", "Figures", "SplitWriter"]

INDEX = "annotations.json"
PART = f"{INDEX}.part"
"""Its name while it is being written."""

DIGEST_BLOCK = 2**20


@dataclass
class Figures:
    """Counts of one split.

    Attributes:
        images: pictures written.
        words: annotations written.
        ignored: those of them that are do not care.
        points: number of points -> annotations.
        orientation: why a turned picture was taken as it is, see :func:`~.image_header.marked_size`.
        residuals: of every fitted word, the largest distance in pixels of an annotated point from its curve.
    """

    images: int = 0
    words: int = 0
    ignored: int = 0
    points: Counter[int] = field(default_factory=Counter)
    orientation: Counter[str] = field(default_factory=Counter)
    residuals: "array[float]" = field(default_factory=lambda: array("f"))


class SplitWriter:
    """Writes ``annotations.json`` and ``images/`` of one split.

    Args:
        source: where the images are.
        destination: folder of the split.
        problems: takes what cannot be used.
        categories: classes in the order of their ids.
        link: refer to images by links where possible.
        ordered: take the publisher's first corners as they are.
        verify: decode every image instead of only reading its header.
    """

    def __init__(
        self,
        source: Source,
        destination: Path,
        *,
        problems: Problems,
        categories: Sequence[str] = ("text",),
        link: bool = True,
        ordered: bool = False,
        verify: bool = False,
    ) -> None:
        self.source = source
        self.destination = destination
        self.problems = problems
        self.categories = list(categories)
        self.ordered = ordered
        self.verify = verify
        self.figures = Figures()
        self._places = ImagePlaces(source, destination, link=link)
        self._names: set[str] = set()
        self._ids: set[int] = set()
        self._next_id = 1

    def collect(self, pictures: Iterable[Picture]) -> Collected:
        """Check every picture and keep its rows in temporary files.

        Raises:
            DataError: the reader's, or in strict mode the first problem.
        """
        self.destination.mkdir(parents=True, exist_ok=True)
        collected = Collected(self.destination)
        try:
            for picture in pictures:
                self._add(picture, collected)
        except BaseException:
            collected.close()
            raise
        return collected

    def finish(self, collected: Collected) -> Iterator[int]:
        """Put the images in place and write the index under a temporary name; yields after each image.

        Raises:
            DataError: an image cannot be written, or the disk is full; in strict mode also one that cannot be read.
        """
        temporary = self.destination / PART
        try:
            self._places.settle()
            with collected, temporary.open("w", encoding="utf-8", errors=ESCAPE, newline="\n") as index:
                index.write('{"images": [')
                lost: set[int] = set()
                separator = "\n"
                for number, row in enumerate(collected.images()):
                    try:
                        if not row.pop("made"):
                            row["file_name"] = self._places.place(row["file_name"])
                        index.write(separator + encode(row))
                        separator = ",\n"
                    except ImageError as error:
                        lost.add(row["id"])
                        self._lose_image(row["file_name"], error)
                    yield number
                index.write('\n],\n"annotations": [')
                separator = "\n"
                for line in collected.annotations():
                    if lost and self._is_lost(json.loads(line), lost):
                        continue
                    index.write(separator + line)
                    separator = ",\n"
                entries = [{"id": number, "name": name} for number, name in enumerate(self.categories, 1)]
                index.write(f'\n],\n"categories": {encode(entries)}}}\n')
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise DataError(f"{self.destination}: cannot be written ({error.strerror or error})") from error
            raise

    def digest(self) -> str:
        """SHA-256 of the finished index."""
        digest = hashlib.sha256()
        with (self.destination / PART).open("rb") as file:
            while block := file.read(DIGEST_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def publish(self) -> Path:
        """Give the finished index its name."""
        index = self.destination / INDEX
        os.replace(self.destination / PART, index)
        return index

    def _lose_image(self, name: str, error: ImageError) -> None:
        """An image that turned out to be damaged when it was taken out of its archive."""
        self.problems.add("image cannot be read (skipped with its words)", name, str(error))
        self.figures.images -= 1

    def _is_lost(self, entry: dict[str, Any], lost: set[int]) -> bool:
        """Whether a word's image was lost; if so the word is not counted any more."""
        if entry["image_id"] not in lost:
            return False
        self.figures.words -= 1
        self.figures.ignored -= entry["ignore"]
        self.figures.points[entry["num_points"]] -= 1
        return True

    def _add(self, picture: Picture, collected: Collected) -> None:
        """One picture and its words."""
        name = picture.image
        if name in self._names:
            self.problems.add("image annotated twice (the later one skipped)", name)
            return
        size = self._size(picture)
        if size is None:
            return
        self._names.add(name)
        made = picture.pixels is not None
        if picture.pixels is not None:
            self._places.write(name, picture.pixels)
        else:
            self._places.expect(name)
        image_id = self._id(picture)
        row = {"id": image_id, "file_name": name, "height": size[1], "width": size[0], **picture.extra}
        collected.add_image({**row, "made": made})
        self.figures.images += 1
        words, outlines = self._outlines(picture, size)
        for word, outline in zip(words, outlines, strict=True):
            self._add_word(word, outline, image_id, collected)

    def _add_word(self, word: Word, outline: Outline, image_id: int, collected: Collected) -> None:
        """One annotation."""
        if word.label not in self.categories:
            self.categories.append(word.label)
        self.figures.words += 1
        entry = annotation(
            word,
            outline,
            number=self.figures.words,
            image_id=image_id,
            category_id=self.categories.index(word.label) + 1,
        )
        self.figures.ignored += entry["ignore"]
        self.figures.points[entry["num_points"]] += 1
        if outline.residual is not None:
            self.figures.residuals.append(outline.residual)
        collected.add_annotation(entry)

    def _outlines(self, picture: Picture, size: tuple[int, int]) -> tuple[list[Word], list[Outline]]:
        """The usable words of a picture and their outlines, with curves."""
        words, outlines = [], []
        for word in picture.words:
            place = word.place or picture.image
            try:
                outline = outline_of(word, size=size, ordered=self.ordered)
            except AnnotationError as error:
                self.problems.add(error.reason, place, error.detail)
                continue
            if outline.note:
                self.problems.add(outline.note, place)
            words.append(word)
            outlines.append(outline)
        fit_curves(words, outlines)
        return words, outlines

    def _size(self, picture: Picture) -> tuple[int, int] | None:
        """(width, height) of the picture that the words were marked on; ``None`` if it cannot be used."""
        name = picture.image
        if picture.pixels is not None:
            return int(picture.pixels.shape[1]), int(picture.pixels.shape[0])
        if not self.source.has(name):
            self.problems.add("image missing in the source (skipped with its words)", name)
            return None
        try:
            path = self.source.path(name)
            if path is not None:
                header = read_header(path, name)
            else:
                with self.source.stream(name) as stream:
                    header = read_header(stream, name)
            if self.verify:
                read_image(path if path is not None else self.source.read(name))
        except ARCHIVE_ERRORS as error:  # ImageError and DataError among them
            self.problems.add("image cannot be read (skipped with its words)", name, str(error))
            return None
        if picture.size is not None and picture.size not in (header.displayed, header.stored):
            detail = f"{picture.size} stated, {header.displayed} in the file"
            self.problems.add("image has another size than stated (kept, with the file's)", name, detail)
        size, why = marked_size(header, picture.size, [word.points for word in picture.words])
        self.figures.orientation[why] += 1
        return size

    def _id(self, picture: Picture) -> int:
        """The publisher's number, or the next free one."""
        number = picture.image_id
        if number is not None and number in self._ids:
            self.problems.add("image id used twice (the later one numbered anew)", picture.image, str(number))
            number = None
        while number is None:
            if self._next_id not in self._ids:
                number = self._next_id
            self._next_id += 1
        self._ids.add(number)
        return number
