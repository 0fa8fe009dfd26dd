"""Rows of an index while it is being made: in temporary files, not in memory."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

__all__ = ["ESCAPE", "Collected", "encode"]

ESCAPE = "backslashreplace"
"""Half of a surrogate pair, which UTF-8 cannot hold, becomes JSON's own escape for it."""

encode = json.JSONEncoder(ensure_ascii=False).encode
"""JSON of a value."""


def _temporary(folder: Path) -> IO[str]:
    """A text file without a name."""
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors=ESCAPE, newline="\n", dir=folder)


class Collected:
    """Rows of the index in two anonymous temporary files of the destination's file system.

    Args:
        folder: where they are made.
    """

    def __init__(self, folder: Path) -> None:
        self._images: IO[str] = _temporary(folder)
        self._annotations: IO[str] = _temporary(folder)

    def add_image(self, row: dict[str, Any]) -> None:
        """Append a row of ``images``."""
        self._images.write(encode(row) + "\n")

    def add_annotation(self, row: dict[str, Any]) -> None:
        """Append a row of ``annotations``."""
        self._annotations.write(encode(row) + "\n")

    def images(self) -> Iterator[dict[str, Any]]:
        """The rows of ``images``."""
        self._images.seek(0)
        for line in self._images:
            yield json.loads(line)

    def annotations(self) -> Iterator[str]:
        """The rows of ``annotations`` as text."""
        self._annotations.seek(0)
        for line in self._annotations:
            yield line.rstrip("\n")

    def close(self) -> None:
        """Let go of the files."""
        self._images.close()
        self._annotations.close()

    def __enter__(self) -> "Collected":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
