"""The dataset index: COCO-style JSON files and their image folders, held compactly."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fasttcm.charset import Charset
from fasttcm.data.index import ImageTable
from fasttcm.data.problems import Problems
from fasttcm.data.reader import read_json
from fasttcm.structures import TextTargets

__all__ = ["Record", "TextDataset", "concatenate"]


@dataclass(frozen=True)
class Record:
    """One image of a dataset.

    Attributes:
        file_path: where the image file is.
        file_name: its name in the annotation file, relative to the image folder.
        image_id: its id in the annotation file.
        height: height in pixels, as annotated.
        width: width in pixels, as annotated.
        targets: its words, in original pixels.
    """

    file_path: Path
    file_name: str
    image_id: int | str
    height: int
    width: int
    targets: TextTargets


class TextDataset:
    """Images with words: ``len(dataset)`` images; ``dataset[i]`` is a :class:`Record`, built on demand.

    Made by :meth:`from_json` or :func:`concatenate`. Everything is in flat arrays, so worker processes share it.

    Args:
        name: what messages call the dataset.
        tables: images and words, one table for each annotation file.
        categories: names of the classes, by label.
        problems: what was found wrong while reading.
    """

    def __init__(
        self, *, name: str, tables: Sequence[ImageTable], categories: Sequence[str], problems: Problems
    ) -> None:
        self.name = name
        self.tables = tuple(tables)
        self.categories = tuple(categories)
        self.problems = problems
        self._first = np.concatenate([[0], np.cumsum([len(table) for table in tables])]).astype(np.int64)

    @classmethod
    def from_json(
        cls,
        annotation_file: str | os.PathLike[str],
        image_root: str | os.PathLike[str] | None = None,
        *,
        charset: Charset | None = None,
        rec_charset: Charset | None = None,
        name: str = "",
        filter_empty: bool = False,
        strict: bool = False,
    ) -> "TextDataset":
        """Read an annotation file.

        What cannot be used is left out and counted in :attr:`problems`; ``datasets/README.md`` describes the format.

        Args:
            annotation_file: the JSON.
            image_root: folder the file names are relative to; ``None`` takes the JSON's key ``image_root`` (relative
                to the JSON's folder, at most one level up), else ``images`` beside the JSON, else its folder.
            charset: characters the model can read; others are counted, and kept (encoded as unknown).
            rec_charset: meaning of the numbers in ``rec``; by default the 95 printable ASCII characters.
            name: what messages call the dataset; by default the file's name.
            filter_empty: leave out images without a word (ignored words count as words).
            strict: raise at the first problem.

        Raises:
            DataError: the file is missing, not JSON (with line and column) or not of this format; in strict mode any
                problem, with its place.
        """
        problems = Problems(strict=strict)
        table, categories = read_json(
            Path(annotation_file),
            None if image_root is None else Path(image_root),
            charset=charset,
            rec_charset=rec_charset or Charset.named("ascii"),
            filter_empty=filter_empty,
            problems=problems,
        )
        return cls(name=name or Path(annotation_file).name, tables=[table], categories=categories, problems=problems)

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, index: int) -> Record:
        """Image ``index``; IndexError past the end."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of dataset {self.name}, which has {len(self)}")
        which = int(np.searchsorted(self._first, index, side="right")) - 1
        table, row = self.tables[which], index - int(self._first[which])
        file_name, image_id = table.file_names[row], table.image_ids[row]
        return Record(
            file_path=table.root / file_name,
            file_name=file_name,
            image_id=int(image_id) if table.id_is_number[row] else image_id,
            height=int(table.sizes[row, 0]),
            width=int(table.sizes[row, 1]),
            targets=table.words.targets(row),
        )

    @property
    def num_words(self) -> int:
        """Words of all images, ignored ones included."""
        return sum(len(table.words.boxes) for table in self.tables)

    @property
    def nbytes(self) -> int:
        """Bytes held by images and words together."""
        return sum(table.nbytes for table in self.tables)


def concatenate(datasets: Sequence[TextDataset]) -> TextDataset:
    """One dataset after the other.

    The categories are those of the first; image ids may then occur more than once.

    Raises:
        ValueError: without any dataset.
    """
    if not datasets:
        raise ValueError("concatenate needs at least one dataset")
    problems = Problems()
    for dataset in datasets:
        problems.extend(dataset.problems)
    return TextDataset(
        name="+".join(dataset.name for dataset in datasets),
        tables=[table for dataset in datasets for table in dataset.tables],
        categories=datasets[0].categories,
        problems=problems,
    )
