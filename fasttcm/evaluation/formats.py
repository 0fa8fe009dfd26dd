"""Ground truth and predictions in every format people have them in, read into the scorer's own document.

Recognised by content, never by name: our JSON (:mod:`fasttcm.evaluation.records`), COCO-style JSON with AdelaiDet's
additions, AdelaiDet's ``text_results.json``, and the published zip archives or folders of text files.
"""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeGuard

from fasttcm.errors import DataError
from fasttcm.evaluation.archives import read_archive
from fasttcm.evaluation.coco import from_coco, from_records
from fasttcm.evaluation.polygons import valid_outlines
from fasttcm.evaluation.records import Source, load_json, read_images

__all__ = ["Role", "align_ids", "as_document", "image_number", "load_words"]

Role = Literal["ground truth", "predictions"]
Document = dict[str, Any]

LONGEST_NUMBER = 18
"""Digits of an image number."""


def load_words(path: str | Path, *, role: Role, strict: bool = False) -> Document:
    """Read a file or folder.

    Args:
        path: JSON file, zip archive, or folder of text files.
        role: which side it is; ground truth needs transcriptions, predictions may have scores.
        strict: refuse what would otherwise be repaired: an outline that crosses itself or has no area, an empty
            set, a score outside [0, 1], and everything :func:`~fasttcm.evaluation.archives.read_archive` mends.

    Returns:
        ``{"images": [...], "source": path, "repairs": [...]}`` as :func:`fasttcm.evaluation.score` takes it. What is
        wrong with single words is found there, and named with ``source``; ``repairs`` are one line each.

    Raises:
        DataError: when it cannot be read or is none of the formats.
    """
    file = Path(path)
    if file.is_dir() or (file.is_file() and zipfile.is_zipfile(file)):
        document: Any = read_archive(file, role=role, strict=strict)
    else:
        document = _from_json(load_json(file, role), str(path), role)
    document = {"repairs": [], **document, "source": str(path)}
    if strict:
        _refuse_repairs(document, role)
    return document


def as_document(source: Source, *, role: Role) -> Mapping[str, Any]:
    """A document as it is, or the one that :func:`load_words` reads from a path."""
    return source if isinstance(source, Mapping) else load_words(source, role=role)


def image_number(image_id: int | str) -> int | None:
    """The number of an image: the id itself, or the last digits of a name (``img_12``, ``0000012``)."""
    if isinstance(image_id, int):
        return image_id
    digits = re.findall("[0-9]+", image_id)
    return int(digits[-1]) if digits and len(digits[-1]) <= LONGEST_NUMBER else None


def align_ids(ground_truth: Mapping[str, Any], predictions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The predictions with the ids of the ground truth, where one side has numbers and the other file names.

    JSON files count images (1), archives name them (``0000001``). A number and a text of digits with the same value
    are one image; two texts are only when they are equal, as in the published scripts. Malformed documents are passed
    on as they are.
    """
    wanted, found = ground_truth.get("images"), predictions.get("images")
    if not _are_entries(wanted) or not _are_entries(found):
        return predictions
    ids = [entry["id"] for entry in wanted if isinstance(entry.get("id"), (int, str))]
    known = {str(image_id) for image_id in ids}
    numbers: dict[tuple[type, int], int | str] = {}
    for image_id in ids:
        if isinstance(image_id, int) or _is_number(image_id):
            numbers.setdefault((type(image_id), int(image_id)), image_id)

    def renamed(entry: Mapping[str, Any]) -> Mapping[str, Any]:
        image_id = entry.get("id")
        if str(image_id) in known:
            return entry
        other = None
        if isinstance(image_id, int):
            other = numbers.get((str, image_id))
        elif isinstance(image_id, str) and _is_number(image_id):
            other = numbers.get((int, int(image_id)))
        return entry if other is None else {**entry, "id": other}

    return {**predictions, "images": [renamed(entry) for entry in found]}


def _is_number(name: str) -> bool:
    """Whether a name is a whole number; what is longer than any image number is a name."""
    return name.isdecimal() and len(name) <= LONGEST_NUMBER


def _are_entries(images: Any) -> TypeGuard[list[Mapping[str, Any]]]:
    """Whether a document's ``images`` are what they should be."""
    return isinstance(images, list) and all(isinstance(entry, Mapping) for entry in images)


def _from_json(content: Any, where: str, role: Role) -> Any:
    """The document in a parsed JSON file; what has no known form is left to :func:`read_images` to refuse."""
    if isinstance(content, list):
        if role == "ground truth":
            raise DataError(
                f'{where}: a list of records is a result file; ground truth needs {{"images": [...]}} or a COCO file'
            )
        return from_records(content, where)
    if isinstance(content, Mapping) and isinstance(content.get("annotations"), list):
        return from_coco(content, where, text_required=role == "ground truth")
    if not isinstance(content, Mapping) or not isinstance(content.get("images"), list):
        raise DataError(
            f'{where}: expected {{"images": [...]}} with one entry per image, a COCO-style file, or a list of records'
        )
    return content


def _refuse_repairs(document: Document, role: Role) -> None:
    """Raise for the first thing that scoring would mend or pass over."""
    where = document["source"]
    images = read_images(document, role=role, text_required=role == "ground truth")
    if not images:
        raise DataError(f"{where}: no image at all (refused by --strict)")
    places = [(key, i) for key, image in images.items() for i in range(len(image.words))]
    words = [word for image in images.values() for word in image.words]
    for (key, i), word, valid in zip(places, words, valid_outlines([word.points for word in words]), strict=True):
        fault = "" if valid else "the outline crosses itself or has no area"
        if not 0 <= word.score <= 1:
            fault = f"score {word.score} is outside [0, 1]"
        if fault:
            raise DataError(f"{where}: image {key}, word {i + 1}: {fault} (refused by --strict)")
    if not words and role == "ground truth":
        raise DataError(f"{where}: no word at all (refused by --strict)")
