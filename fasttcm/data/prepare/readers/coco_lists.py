"""The two lists of a COCO-style JSON, ``images`` and ``annotations``, brought together."""

from collections.abc import Iterator, Mapping
from typing import Any

from fasttcm.data.prepare.readers.common import annotation_files, read_json
from fasttcm.data.prepare.source import MissingSplitError, Source
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError

__all__ = ["by_image", "read_coco"]

Entry = dict[str, Any]


def read_coco(
    source: Source, split: str, problems: Problems, *, chosen: str | None = None
) -> Iterator[tuple[str, Entry]]:
    """Name and content of every JSON of a split that has both lists; others, which lie about, are reported.

    Args:
        source: where they are.
        split: by the names of files and folders.
        problems: takes files of another kind.
        chosen: see :func:`annotation_files`.

    Raises:
        MissingSplitError: there is none.
        DataError: broken JSON, with line and column, or a chosen file of another kind.
    """
    files = annotation_files(source, "*.json", split, chosen=chosen)
    found = False
    for name in files:
        content = read_json(source, name, problems)
        if isinstance(content, dict) and all(isinstance(content.get(key), list) for key in ("images", "annotations")):
            found = True
            yield name, content
        elif chosen is not None:
            raise DataError(f'{name}: expected an object with the lists "images" and "annotations" (COCO style)')
        else:
            problems.add('no COCO-style JSON, it lacks the list "images" or "annotations" (skipped)', name)
    if not found:
        raise MissingSplitError(f"no COCO-style JSON among {', '.join(files)}")


def by_image(
    content: Mapping[str, list[Any]], file: str, problems: Problems
) -> dict[int | str, tuple[Entry, list[tuple[str, Entry]]]]:
    """Image id -> its entry and its annotations with their places, in file order.

    Entries that are no objects, have no id or belong to an unknown image are reported and left out, as is an image
    whose id was there before.
    """
    images: dict[int | str, tuple[Entry, list[tuple[str, Entry]]]] = {}
    for position, entry in enumerate(content["images"]):
        number = entry.get("id") if isinstance(entry, dict) else None
        place = f"{file}: image #{position}"
        if not isinstance(number, int | str):
            problems.add("image without an id (skipped)", place)
        elif number in images:
            problems.add("image id used twice (the later one skipped)", place, str(number))
        else:
            images[number] = (entry, [])
    seen: set[int | str] = set()
    for position, entry in enumerate(content["annotations"]):
        place = f"{file}: annotation #{position}"
        if not isinstance(entry, dict):
            problems.add("annotation is not an object (skipped)", place)
            continue
        number, owner = entry.get("id"), entry.get("image_id")
        if isinstance(number, int | str):
            place += f" (id {number})"
            if number in seen:
                problems.add("annotation id used twice (kept)", place)
            seen.add(number)
        if not isinstance(owner, int | str) or owner not in images:
            problems.add("annotation of an unknown image (skipped)", place, str(owner))
            continue
        images[owner][1].append((place, entry))
    return images
