"""Zip and tar archives opened for reading by name, without trusting them: nothing is ever unpacked to a name.

Refused with one line: names that lead out of the archive, names that occur twice, devices, encrypted members, and
anything that unpacks to far more than it weighs. Archives that cannot be read at random (compressed tars, archives
within archives) are unpacked to an anonymous temporary file, which vanishes with the process.
"""

import bz2
import gzip
import lzma
import re
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

from fasttcm.errors import DataError

__all__ = [
    "ARCHIVE_ERRORS",
    "ARCHIVE_SUFFIXES",
    "Archive",
    "is_archive",
    "is_litter",
    "open_archive",
    "safe_name",
    "unpacked",
]

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""Names that are taken for archives."""

MAX_MEMBERS = 5_000_000
"""Files in one archive; SynthText has 860 000."""

MAX_RATIO = 200
"""Unpacked bytes per packed byte; coordinates and words reach about 20, images about 1."""

FREE_BYTES = 2**20
"""Members up to this size may be packed as well as they like."""

FREE_TOTAL_BYTES = 64 * 2**20
"""The same for an archive as a whole."""

BLOCK = 2**20
"""Bytes unpacked at a time."""

ENCRYPTED = 0x1
"""Bit of a zip member's flags."""

ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
)
"""What the standard library raises on damaged archives (``NotImplementedError`` is a ``RuntimeError``)."""

LITTER = ("._", ".ds_store", "thumbs.db", "desktop.ini")
"""Beginnings of file names that operating systems leave behind."""

COMPRESSED: tuple[tuple[bytes, Callable[[BinaryIO], IO[bytes]]], ...] = (
    (b"\x1f\x8b", lambda stream: cast(IO[bytes], gzip.GzipFile(fileobj=stream))),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\0", lzma.LZMAFile),
)
"""First bytes of a compressed stream and how to unpack it."""


class Archive(Protocol):
    """An open archive: its members' names and sizes, and their bytes."""

    sizes: dict[str, int]
    """Safe member name, ``/`` between folders -> unpacked bytes."""

    def open(self, name: str) -> BinaryIO:
        """The bytes of a member, seekable."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


def is_archive(name: str) -> bool:
    """Whether a file name is that of an archive."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def is_litter(name: str) -> bool:
    """Whether an operating system put the file there (``__MACOSX/``, ``.DS_Store``, ``Thumbs.db``, ...)."""
    parts = name.lower().split("/")
    return "__macosx" in parts or parts[-1].startswith(LITTER)


def safe_name(archive: str, member: str) -> str:
    """A member's name with ``/`` between folders and without ``./``.

    Raises:
        DataError: it is absolute, climbs with ``..``, names a drive or holds a NUL.
    """
    name = member.replace("\\", "/")  # some Windows programs write their own separator
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name or any(re.match("^[A-Za-z]:", part) for part in parts):
        raise DataError(f"{archive}: member {member!r} points out of the archive (refused); download it again")
    return "/".join(parts)


def open_archive(stream: BinaryIO, label: str, *, scratch: Path | None = None) -> Archive:
    """Open a zip or tar archive, compressed or not, by its content.

    Args:
        stream: the file, seekable; closed with the archive.
        label: what messages call it.
        scratch: folder for temporary files; ``None``: the system's.

    Raises:
        DataError: damaged, neither zip nor tar, or refused for the reasons this module lists.
    """
    try:
        start = stream.read(6)
        stream.seek(0)
        if start[:2] == b"PK":
            return _Zip(stream, label)
        for magic, unpacker in COMPRESSED:
            if start.startswith(magic):
                packed_bytes = stream.seek(0, 2)
                stream.seek(0)
                with stream, unpacker(stream) as content:
                    limit = max(FREE_TOTAL_BYTES, MAX_RATIO * packed_bytes)
                    return _Tar(unpacked(content, label, limit=limit, scratch=scratch), label)
        return _Tar(stream, label)
    except DataError:
        stream.close()
        raise
    except ARCHIVE_ERRORS as error:
        stream.close()
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{label}: cannot be read as an archive ({reason}); download it again") from error


def unpacked(stream: IO[bytes], label: str, *, limit: int, scratch: Path | None = None) -> BinaryIO:
    """Copy a stream to an anonymous temporary file that can be read at random.

    Raises:
        DataError: more than ``limit`` bytes come.
    """
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    target = cast(BinaryIO, tempfile.TemporaryFile(dir=scratch))  # noqa: SIM115 - the archive owns it
    size = 0
    while block := stream.read(BLOCK):
        size += len(block)
        if size > limit:
            target.close()
            raise DataError(f"{label}: unpacks to more than {MAX_RATIO} times its size (refused as a bomb)")
        target.write(block)
    target.seek(0)
    return target


def _check_member(label: str, name: str, size: int, sizes: dict[str, int]) -> None:
    """Refuse too many members and equal names."""
    if len(sizes) >= MAX_MEMBERS:
        raise DataError(f"{label}: more than {MAX_MEMBERS} files (refused as a bomb)")
    if name in sizes:
        raise DataError(f"{label}: member {name!r} occurs twice; unpack the archive and give the folder")
    sizes[name] = size


class _Zip:
    """A zip archive."""

    def __init__(self, stream: BinaryIO, label: str) -> None:
        self._zip = zipfile.ZipFile(stream)
        self._stream = stream
        self.sizes: dict[str, int] = {}
        self._names: dict[str, str] = {}
        for member in self._zip.infolist():
            name = safe_name(label, member.filename)
            if member.is_dir() or is_litter(name):
                continue
            if member.flag_bits & ENCRYPTED:
                raise DataError(f"{label}: member {name!r} is encrypted; unpack the archive and give the folder")
            if member.file_size > max(FREE_BYTES, MAX_RATIO * member.compress_size):
                raise DataError(f"{label}: member {name!r} unpacks to more than {MAX_RATIO} times its size (refused)")
            if (member.external_attr >> 16) & 0o170000 == 0o120000:  # a symbolic link, of which the text is the target
                continue
            _check_member(label, name, member.file_size, self.sizes)
            if name != member.filename:
                self._names[name] = member.filename
        packed = stream.seek(0, 2)
        if sum(self.sizes.values()) > max(FREE_TOTAL_BYTES, MAX_RATIO * packed):
            raise DataError(f"{label}: unpacks to more than {MAX_RATIO} times its size (refused as a bomb)")

    def open(self, name: str) -> BinaryIO:
        return cast(BinaryIO, self._zip.open(self._names.get(name, name)))

    def close(self) -> None:
        self._zip.close()
        self._stream.close()


class _Tar:
    """An uncompressed tar archive; only ordinary files are seen."""

    def __init__(self, stream: BinaryIO, label: str) -> None:
        self._tar = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 - closed by close()
        self._stream = stream
        self.sizes: dict[str, int] = {}
        self._members: dict[str, tarfile.TarInfo] = {}
        for member in self._tar:
            name = safe_name(label, member.name)
            if member.issym() or member.islnk():
                target = member.linkname.replace("\\", "/")
                if target.startswith("/") or ".." in target.split("/"):
                    raise DataError(f"{label}: link {name!r} leads out of the archive to {target!r} (refused)")
            elif not (member.isfile() or member.isdir()):
                raise DataError(f"{label}: member {name!r} is a device or pipe (refused)")
            elif member.isfile() and not is_litter(name):
                if member.issparse():
                    raise DataError(f"{label}: member {name!r} is a sparse file (refused as a bomb)")
                _check_member(label, name, member.size, self.sizes)
                self._members[name] = member

    def open(self, name: str) -> BinaryIO:
        stream = self._tar.extractfile(self._members[name])
        assert stream is not None  # ordinary files only
        return cast(BinaryIO, stream)

    def close(self) -> None:
        self._tar.close()
        self._stream.close()
