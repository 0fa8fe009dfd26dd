"""The files of a dataset as the publisher offers them: a folder, an archive, or a folder that holds archives.

Names are relative with ``/`` between folders; an archive is entered as if it were a folder of its name, so that
``ch4_test_images.zip/img_1.jpg`` is a file.
"""

import fnmatch
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from fasttcm.data.images import IMAGE_SUFFIXES
from fasttcm.data.prepare.archive import (
    ARCHIVE_ERRORS,
    ARCHIVE_SUFFIXES,
    Archive,
    is_archive,
    is_litter,
    open_archive,
    unpacked,
)
from fasttcm.errors import DataError

__all__ = ["MissingSplitError", "Source", "decode_text", "is_image"]

MAX_IMAGE_BYTES = 2**30
"""Largest image file; the pixel limit of :mod:`fasttcm.data.images` comes on top."""

MAX_TABLE_BYTES = 4 * 2**30
"""Largest JSON or MATLAB file; SynthText's has 235 MB."""

MAX_TEXT_BYTES = 256 * 2**20
"""Largest file of any other kind."""

TABLE_SUFFIXES = (".json", ".jsonl", ".mat")

MAX_DEPTH = 3
"""Archives within archives within archives."""

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class MissingSplitError(DataError):
    """The source holds nothing of a split; the message says which files were expected."""


def is_image(name: str) -> bool:
    """Whether a file name is that of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def decode_text(data: bytes, *, chinese: bool = False) -> str:
    r"""Text of unknown encoding: UTF-8, UTF-16 with its mark, else GBK if asked for, else Latin-1.

    A byte-order mark is dropped, ends of lines become ``\n``. Latin-1 takes any byte, so this never fails.
    """
    text = None
    for encoding in ["utf-16"] * data.startswith(UTF16_MARKS) + ["utf-8-sig"] + ["gbk"] * chinese:
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    if text is None:
        text = data.decode("latin-1")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


class Source:
    """Every file of a published dataset by name; made by :meth:`open`.

    Args:
        root: the folder or the archive.
        scratch: folder for temporary files of compressed archives; ``None``: the system's.
    """

    def __init__(self, root: Path, scratch: Path | None = None) -> None:
        self.root = root
        self._scratch = scratch
        self._archives: list[tuple[str, Archive]] = []
        self._archive_of: dict[str, int] = {}
        self._names: list[str] | None = None
        try:
            if root.is_dir():
                self._add_folder()
            else:
                self._add_archive(root.open("rb"), "", str(root), depth=1)
        except OSError as error:
            self.close()
            raise DataError(f"{root}: cannot be read ({error.strerror or error})") from error
        except DataError:
            self.close()
            raise

    @classmethod
    def open(cls, path: str | os.PathLike[str], scratch: str | os.PathLike[str] | None = None) -> "Source":
        """Open a folder or an archive.

        An archive is passed over when the folder it was unpacked to (``x/`` for ``x.zip``) lies beside it.

        Raises:
            DataError: no such path, neither folder nor archive, an empty folder, a damaged or unsafe archive, a link
                that leads out of the folder. Links to folders directly inside the folder are followed.
        """
        root = Path(path).expanduser()
        if not root.exists():
            raise DataError(f"{root}: no such file or folder; name the folder or archive with the published files")
        if not root.is_dir() and not is_archive(root.name):
            known = ", ".join(ARCHIVE_SUFFIXES)
            raise DataError(f"{root}: neither a folder nor an archive ({known}); name the folder that holds it")
        source = cls(root, None if scratch is None else Path(scratch))
        if not source.names():
            source.close()
            raise DataError(f"{root}: no files in it")
        return source

    def names(self) -> list[str]:
        """Every file, sorted."""
        if self._names is None:
            self._names = sorted(self._archive_of)
        return self._names

    def find(self, pattern: str) -> list[str]:
        """Names that match a pattern (``*``, ``?``, ``[...]``; case does not matter), in their order.

        ``gt_*.txt`` finds files of such a name in any folder or archive; ``train/*.jpg``, with a ``/``, those in or
        below a folder ``train``.
        """
        expression = re.compile("(?:.*/)?(?:" + fnmatch.translate(pattern) + ")", re.IGNORECASE)
        if "/" in pattern:
            return [name for name in self.names() if expression.match(name)]
        return [name for name in self.names() if expression.match(name.rpartition("/")[2])]

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self._archive_of

    def path(self, name: str) -> Path | None:
        """The real file, or ``None`` inside an archive or for an unknown name."""
        return self.root / name if self._archive_of.get(name) == -1 else None

    def size(self, name: str) -> int:
        """Bytes of a file. Raises DataError as :meth:`read`."""
        index = self._index(name)
        if index >= 0:
            prefix, archive = self._archives[index]
            return archive.sizes[name[len(prefix) :]]
        try:
            return (self.root / name).stat().st_size
        except OSError as error:
            raise DataError(f"{self.root / name}: cannot be read ({error.strerror or error})") from error

    def stream(self, name: str) -> BinaryIO:
        """A file opened for reading, seekable. Raises DataError when it is missing or damaged."""
        index = self._index(name)
        try:
            if index < 0:
                return (self.root / name).open("rb")
            prefix, archive = self._archives[index]
            return archive.open(name[len(prefix) :])
        except ARCHIVE_ERRORS as error:
            raise DataError(f"{self.root / name}: cannot be read ({_reason(error)})") from error

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            DataError: missing, damaged, or larger than any file of its kind.
        """
        size, limit = self.size(name), _largest(name)
        if size > limit:
            raise DataError(f"{self.root / name}: {size / 2**20:.0f} MiB, more than the {limit // 2**20} MiB allowed")
        with self.stream(name) as stream:
            try:
                return stream.read(limit + 1)
            except ARCHIVE_ERRORS as error:
                raise DataError(f"{self.root / name}: damaged ({_reason(error)}); download it again") from error

    def close(self) -> None:
        """Close every archive."""
        for _, archive in self._archives:
            archive.close()

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _index(self, name: str) -> int:
        """Number of the archive a file is in, -1 for one in a folder."""
        if name not in self._archive_of:
            raise DataError(f"{self.root}: no file {name!r} in it")
        return self._archive_of[name]

    def _add_folder(self) -> None:
        """Every file below the root; archives are entered."""
        archives = []
        for name in _walk(self.root):
            if is_archive(name):
                archives.append(name)
            else:
                self._archive_of[name] = -1
        for name in archives:
            if not _stem(self.root / name).is_dir():
                self._add_archive((self.root / name).open("rb"), f"{name}/", str(self.root / name), depth=1)

    def _add_archive(self, stream: BinaryIO, prefix: str, label: str, *, depth: int) -> None:
        """Every file of an archive, those of archives inside included."""
        archive = open_archive(stream, label, scratch=self._scratch)
        number = len(self._archives)
        self._archives.append((prefix, archive))
        for name in archive.sizes:
            if not is_archive(name):
                self._archive_of[prefix + name] = number
            elif depth < MAX_DEPTH:
                place, size = f"{label}/{name}", archive.sizes[name]
                with archive.open(name) as member:
                    copy = unpacked(member, place, limit=size, scratch=self._scratch)
                self._add_archive(copy, f"{prefix}{name}/", place, depth=depth + 1)
            else:
                raise DataError(f"{label}/{name}: archives nested deeper than {MAX_DEPTH} (refused)")


def _walk(root: Path) -> Iterator[str]:
    """Relative names of the files below a folder, links looked at first."""
    pending = [("", os.path.realpath(root))]
    while pending:
        prefix, home = pending.pop()
        with os.scandir(root / prefix) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = prefix + entry.name
                if entry.is_symlink():
                    target = os.path.realpath(entry.path)
                    if entry.is_dir() and not prefix:
                        if not Path(home).is_relative_to(target):  # a circle otherwise
                            pending.append((f"{name}/", target))
                        continue
                    if not Path(target).is_relative_to(home):
                        raise DataError(
                            f"{entry.path}: the link leads out of the folder (refused); put the file itself there, or "
                            f"link a whole folder directly inside {root}"
                        )
                if entry.is_dir(follow_symlinks=False):
                    pending.append((f"{name}/", home))
                elif entry.is_file() and not is_litter(name):
                    yield name


def _stem(path: Path) -> Path:
    """The folder that an archive is usually unpacked to."""
    suffix = max((s for s in ARCHIVE_SUFFIXES if path.name.lower().endswith(s)), key=len)
    return path.with_name(path.name[: -len(suffix)] or path.name)


def _largest(name: str) -> int:
    """Most bytes that a file of its kind may have."""
    if is_image(name):
        return MAX_IMAGE_BYTES
    return MAX_TABLE_BYTES if name.lower().endswith(TABLE_SUFFIXES) else MAX_TEXT_BYTES


def _reason(error: BaseException) -> str:
    """One line about an exception."""
    return " ".join(str(error).split()) or type(error).__name__
