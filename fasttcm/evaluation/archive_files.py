"""Text files out of a zip archive or a folder, without trusting either: nothing is ever unpacked to the disk."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fasttcm.errors import DataError

__all__ = ["TextFile", "read_files"]

TextFile = tuple[str, bytes]
"""Name inside the archive (with folders, ``/`` between them) and content."""

MAX_FILES = 200_000
"""Members an archive may have; the largest public set has 12 000 images."""

MAX_TOTAL_BYTES = 512 * 2**20
"""Unpacked size of everything together; the largest public annotation archive has some 30 MiB."""

MAX_RATIO = 200
"""Unpacked bytes per packed byte of a member above :data:`FREE_BYTES`; coordinates and words reach about 10."""

FREE_BYTES = 2**20
"""Members up to this size may be packed as well as they like."""

ENCRYPTED = 0x1
"""Bit of a member's flags."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Ways of packing that every unpacker knows."""

LITTER = ("__MACOSX", ".", "Thumbs.db", "desktop.ini")
"""Beginnings of names that operating systems leave behind."""


def read_files(path: Path) -> list[TextFile]:
    """Every file of a zip archive (in its order) or directly inside a folder (by name).

    Raises:
        DataError: when the path is neither, the archive is damaged, encrypted or larger than the limits of this
            module, a name occurs twice, or a member's path or a link leads out.
    """
    try:
        if path.is_dir():
            return list(_from_folder(path))
        with zipfile.ZipFile(path) as archive:
            return list(_from_zip(path, archive))
    except DataError:
        raise
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, IndexError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a zip archive ({error}); pack it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _from_zip(path: Path, archive: zipfile.ZipFile) -> Iterator[TextFile]:
    """The members, after a look at what they claim to be."""
    members = archive.infolist()
    _check_amount(path, len(members), sum(member.file_size for member in members))
    seen = set()
    for member in members:
        name = member.filename.replace("\\", "/")  # some Windows programs write their own separator
        if ".." in PurePosixPath(name).parts or name.startswith("/") or ":" in name:
            raise DataError(f"{path}: member {name!r} points out of the archive; pack it again")
        if member.is_dir() or _is_litter(name):
            continue
        if name in seen:
            raise DataError(f"{path}: member {name!r} occurs twice; pack it again")
        seen.add(name)
        if member.flag_bits & ENCRYPTED:
            raise DataError(f"{path}: member {name!r} is encrypted; pack it without a password")
        if member.compress_type not in METHODS:
            raise DataError(f"{path}: member {name!r} is packed with method {member.compress_type}; use plain deflate")
        if member.file_size > max(FREE_BYTES, MAX_RATIO * member.compress_size):
            raise DataError(f"{path}: member {name!r} unpacks to more than {MAX_RATIO} times its size; refused")
        yield name, archive.read(member)


def _from_folder(folder: Path) -> Iterator[TextFile]:
    """The files directly inside; a link may not lead out of the folder."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and not _is_litter(file.name))
    home = folder.resolve()
    for file in files:
        if not file.resolve().is_relative_to(home):
            raise DataError(f"{file}: the link leads out of the folder; put the file itself there")
    _check_amount(folder, len(files), sum(file.stat().st_size for file in files))
    for file in files:
        yield file.name, file.read_bytes()


def _check_amount(path: Path, files: int, size: int) -> None:
    """Refuse more than anybody needs."""
    if files > MAX_FILES or size > MAX_TOTAL_BYTES:
        raise DataError(
            f"{path}: {files} files of {size / 2**20:.0f} MiB together are more than the {MAX_FILES} files and "
            f"{MAX_TOTAL_BYTES // 2**20} MiB that are read"
        )


def _is_litter(name: str) -> bool:
    """Whether an operating system put it there."""
    return name.split("/")[0] == LITTER[0] or name.rsplit("/", 1)[-1].startswith(LITTER[1:])
