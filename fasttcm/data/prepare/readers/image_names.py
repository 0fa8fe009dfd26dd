"""The image file that an annotation file means."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from fasttcm.data.images import IMAGE_SUFFIXES
from fasttcm.data.prepare.source import Source
from fasttcm.data.problems import Problems

__all__ = ["ImageNames"]


class ImageNames:
    """The image files of a source, found by what annotation files call them.

    Annotations are made on other machines: with Windows separators, folders that no longer exist, or without a
    suffix. Of the files with the right last name the one with the longest common path end is meant, and among equals
    the one nearest to the annotation file.

    Args:
        source: where the images are.
        problems: takes images that are missing.
    """

    def __init__(self, source: Source, problems: Problems) -> None:
        self._problems = problems
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in source.names():
            last = name.rpartition("/")[2].lower()
            stem, suffix = os.path.splitext(last)
            if suffix in IMAGE_SUFFIXES:
                self._by_name[last].append(name)
                self._by_stem[stem].append(name)

    def find(self, name: Any, *, place: str, near: str = "") -> str | None:
        """The name in the source of an image; ``None``, and a problem, when there is none or nothing tells which.

        Args:
            name: as the annotation has it; the suffix may be missing or another one.
            place: where the annotation has it, for messages.
            near: name in the source of the annotation file.
        """
        path = PurePosixPath(str(name or "").replace("\\", "/").lower())
        wanted = tuple(part for part in path.parts if part not in ("/", ".."))
        stem, suffix = os.path.splitext(wanted[-1]) if wanted else ("", "")
        found = self._by_name.get(stem + suffix) or self._by_stem.get(
            stem if suffix in IMAGE_SUFFIXES else stem + suffix, []
        )
        if len(found) == 1:
            return found[0]
        tail, home = wanted[-2::-1], _folders(near)
        ranks = [(_common(tail, _folders(one)[::-1]), _common(home, _folders(one))) for one in found]
        if not ranks or ranks.count(max(ranks)) > 1:
            what = "several images of this name" if ranks else "image missing"
            self._problems.add(f"{what} in the source (image skipped)", place, str(name)[:80])
            return None
        return found[ranks.index(max(ranks))]

    def __len__(self) -> int:
        return sum(map(len, self._by_name.values()))

    def all(self) -> list[str]:
        """Every image of the source, sorted."""
        return sorted(name for names in self._by_name.values() for name in names)


def _folders(name: str) -> tuple[str, ...]:
    """Folders of a name, in lower case."""
    return PurePosixPath(name.lower()).parts[:-1]


def _common(a: Iterable[str], b: Iterable[str]) -> int:
    """Equal parts at the beginning."""
    count = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        count += 1
    return count
