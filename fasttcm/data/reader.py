"""Reading one COCO-style JSON into an :class:`~fasttcm.data.index.ImageTable`."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from fasttcm.charset import Charset
from fasttcm.data.annotations import AnnotationError, ParsedAnnotation, parse_annotation
from fasttcm.data.image_folder import ImageFolder
from fasttcm.data.images import image_size
from fasttcm.data.index import ImageTable, IndexBuilder, PackedStrings
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError, ImageError
from fasttcm.structures import ILLEGIBLE

__all__ = ["ImageRow", "WordVisitor", "image_root_of", "load_annotation_json", "read_json"]

IMAGES_FOLDER = "images"
"""Where the images are when nothing else is said: beside the annotation file."""

DEFAULT_CATEGORY = "text"


class ImageRow(NamedTuple):
    """A usable entry of ``images``; ``number`` counts the usable ones."""

    number: int
    image_id: int | str
    file_name: str
    height: int
    width: int


WordVisitor = Callable[[str, ImageRow, int, ParsedAnnotation], None]
"""``(place, image, label, word)``: where the word is in the file, its image, its class, and what was read."""


def load_annotation_json(path: Path) -> dict[str, Any]:
    """Parse an annotation file; a leading byte-order mark is allowed.

    Raises:
        DataError: missing file, wrong encoding, broken JSON (with line and column), or no ``images`` list.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(f"annotation file not found: {path}") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); is this the annotation JSON?") from error
    except RecursionError as error:
        raise DataError(f"{path}: JSON nested too deeply to be an annotation file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot read the annotation file: {error.strerror}") from error
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise DataError(f'{path}: expected a JSON object with a list "images" (COCO style)')
    if not isinstance(content.get("annotations", []), list):
        raise DataError(f'{path}: "annotations" must be a list')
    return content


def image_root_of(path: Path, content: Mapping[str, Any]) -> Path:
    """The image folder of an annotation file that was given alone.

    Its key ``image_root``, relative to its folder; else ``images`` beside it, if there is one; else its folder.

    Raises:
        DataError: ``image_root`` is not a relative path, or leads further up than the folder above the file's.
    """
    folder = path.parent
    named = content.get("image_root")
    if named is None:
        return folder / IMAGES_FOLDER if (folder / IMAGES_FOLDER).is_dir() else folder
    if isinstance(named, str) and not Path(named).is_absolute():
        root = folder / named
        if root.resolve().is_relative_to(folder.resolve().parent):
            return root
    raise DataError(f'{path}: "image_root" must be a folder relative to the file, at most one level up, got {named!r}')


def read_json(
    path: Path,
    image_root: Path | None,
    *,
    charset: Charset | None,
    rec_charset: Charset,
    filter_empty: bool,
    problems: Problems,
    visit: WordVisitor | None = None,
) -> tuple[ImageTable, list[str]]:
    """Read an annotation file; other arguments and errors as :meth:`fasttcm.data.coco.TextDataset.from_json`.

    Args:
        problems: takes what is wrong.
        visit: is shown every usable word, in the order of the file.

    Returns:
        Images and words, and the names of the classes by label.
    """
    content = load_annotation_json(path)
    root = image_root if image_root is not None else image_root_of(path, content)
    images = _read_images(path, content["images"], root, problems)
    labels, categories = _read_categories(path, content, problems)
    builder = IndexBuilder()
    _add_words(path, content.get("annotations", []), images, labels, builder, charset, rec_charset, problems, visit)
    rows = [row for row in images.values() if row is not None]
    if filter_empty:
        owners = builder.owners
        rows = [row for row in rows if row.number in owners]
    table = ImageTable(
        root=root,
        file_names=PackedStrings([row.file_name for row in rows]),
        image_ids=PackedStrings([str(row.image_id) for row in rows]),
        id_is_number=np.asarray([isinstance(row.image_id, int) for row in rows], np.bool_),
        sizes=np.asarray([[row.height, row.width] for row in rows], np.int64).reshape(-1, 2),
        words=builder.build([row.number for row in rows]),
    )
    return table, categories


def _read_images(
    path: Path, entries: Sequence[Any], root: Path, problems: Problems
) -> dict[int | str, ImageRow | None]:
    """Image id -> row, in file order; ``None`` for an image that is known but cannot be used."""
    folder = ImageFolder(root)
    images: dict[int | str, ImageRow | None] = {}
    usable = 0
    for position, entry in enumerate(entries):
        place = f"{path}: image #{position}"
        image_id = entry.get("id") if isinstance(entry, dict) else None
        if not _is_id(image_id):
            problems.add("image without an id (skipped)", place)
            continue
        place += f" (id {image_id})"
        if image_id in images:
            problems.add("image id used twice (the later one skipped)", place)
            continue
        images[image_id] = None
        name = entry.get("file_name")
        complaint = folder.complaint(name) if isinstance(name, str) else "file name missing"
        if complaint:
            problems.add(f"{complaint} (image skipped)", place, f"{name!r} in {root}")
            continue
        size = _read_size(entry, root / name, place, problems)
        if size is not None:
            images[image_id] = ImageRow(usable, image_id, name, *size)
            usable += 1
    return images


def _is_id(value: object) -> TypeGuard[int | str]:
    """Whether a JSON value can be an id: a whole number or a string."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def _read_size(entry: Mapping[str, Any], file: Path, place: str, problems: Problems) -> tuple[int, int] | None:
    """(height, width) as annotated; from the file where they are missing; ``None`` when that fails as well."""
    height, width = entry.get("height"), entry.get("width")
    if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:
        return height, width
    problems.add("image height or width missing (taken from the file)", place)
    try:
        return image_size(file)
    except ImageError as error:
        problems.add("image file unreadable (image skipped)", place, str(error))
        return None


def _read_categories(path: Path, content: Mapping[str, Any], problems: Problems) -> tuple[dict[Any, int], list[str]]:
    """Category id -> label (0, 1, ... by ascending id) and the names by label.

    Without a usable ``categories`` list there is one class, "text", whatever id the annotations use.
    """
    listed = content.get("categories")
    names: dict[int, str] = {}
    for position, entry in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(entry, dict) and isinstance(entry.get("id"), int):
            names[entry["id"]] = str(entry.get("name", DEFAULT_CATEGORY))
        else:
            problems.add("category without an id (skipped)", f"{path}: category #{position}")
    ids = sorted(names)
    return {number: label for label, number in enumerate(ids)}, [names[number] for number in ids] or [DEFAULT_CATEGORY]


class _ForeignCharacters:
    """The characters of a text that a charset lacks; known ones are remembered, as most words have no other."""

    def __init__(self, charset: Charset | None) -> None:
        self.charset = charset
        self._readable: set[str] = set(ILLEGIBLE)

    def __call__(self, text: str) -> str:
        if self.charset is None or self._readable.issuperset(text):
            return ""
        foreign = [c for c in dict.fromkeys(text) if self.charset.foreign(c)]
        self._readable.update(set(text).difference(foreign))
        return "".join(foreign)


def _add_words(
    path: Path,
    entries: Sequence[Any],
    images: Mapping[int | str, ImageRow | None],
    labels: Mapping[Any, int],
    builder: IndexBuilder,
    charset: Charset | None,
    rec_charset: Charset,
    problems: Problems,
    visit: WordVisitor | None,
) -> None:
    """Check every annotation, add the usable ones to the builder, and show them to the visitor."""
    detection_only = not any(isinstance(entry, dict) and ("text" in entry or "rec" in entry) for entry in entries)
    foreign_characters = _ForeignCharacters(charset)
    seen: set[int | str] = set()
    for position, entry in enumerate(entries):
        place = f"{path}: annotation #{position}"
        if not isinstance(entry, dict):
            problems.add("annotation is not an object (skipped)", place)
            continue
        number = entry.get("id")
        if _is_id(number):
            place += f" (id {number})"
            if number in seen:
                problems.add("annotation id used twice (kept)", place)
            seen.add(number)
        try:
            row, label = _owner_and_label(entry, images, labels)
            if row is None:  # the image was skipped, and counted there
                continue
            word = parse_annotation(
                entry, height=row.height, width=row.width, rec_charset=rec_charset, detection_only=detection_only
            )
        except AnnotationError as problem:
            problems.add(problem.reason, place, problem.detail)
            continue
        for note in word.notes:
            problems.add(note, place)
        if foreign := foreign_characters(word.text):
            problems.add("character outside the charset (kept as unknown)", place, foreign)
        builder.add(row.number, word, label)
        if visit is not None:
            visit(place, row, label, word)


def _owner_and_label(
    entry: Mapping[str, Any], images: Mapping[int | str, ImageRow | None], labels: Mapping[Any, int]
) -> tuple[ImageRow | None, int]:
    """Image and label of an annotation; one without ``category_id`` belongs to the first category."""
    owner = entry.get("image_id")
    if not _is_id(owner) or owner not in images:
        raise AnnotationError("unknown image_id (skipped)", repr(owner))
    category = entry.get("category_id")
    if category is None or not labels:
        return images[owner], 0
    if not _is_id(category) or category not in labels:
        raise AnnotationError("unknown category_id (skipped)", repr(category))
    return images[owner], labels[category]
