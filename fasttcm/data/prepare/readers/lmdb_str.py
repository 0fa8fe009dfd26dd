"""Word crops in LMDB, as the recognition benchmarks are offered (deep-text-recognition-benchmark, PARSeq, CLIP4STR).

Each set is a folder with ``data.mdb`` and ``lock.mdb``; its keys and values:

    num-samples        b"857"
    image-000000001    the bytes of a JPEG or PNG
    label-000000001    b"Tiredness"
    image-000000002    ...

A word crop becomes a picture with one word, whose polygon is the border of the picture.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fasttcm.data.images import read_image
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.common import box_corners
from fasttcm.data.prepare.source import MissingSplitError, Source
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError, ImageError

__all__ = ["STR_SETS", "read_lmdb", "read_str"]

STR_SETS = (
    "IIIT5k",
    "SVT",
    "IC13_857",
    "IC13_1015",
    "IC15_1811",
    "IC15_2077",
    "SVTP",
    "CUTE80",
    "ArT",
    "COCOv1.4",
    "Uber",
)
"""The benchmarks by the names of their folders, which are those of the recognition figures."""

DATA_FILE = "data.mdb"

MAX_SAMPLES = 100_000_000
"""Nine digits of a key, less one."""


def read_str(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The word crops of one benchmark, by number.

    Args:
        source: folder that holds the benchmarks' folders, at any depth, or is one.
        split: a name of :data:`STR_SETS`; a suffix of the folder is allowed (``IIIT5k_3000``), case does not matter.
        problems: takes records that are missing or damaged.

    Raises:
        MissingSplitError: no such benchmark.
        DataError: several, an archive, or something that is no LMDB.
    """
    pattern = re.compile(re.escape(split) + r"(_\d+)?", re.IGNORECASE)
    found = [folder for folder in _databases(source) if pattern.fullmatch(folder.name)]
    if not found:
        raise MissingSplitError(f"expected a folder {split} with {DATA_FILE}")
    if len(found) > 1:
        raise DataError(f"{split} is there several times: {', '.join(map(str, found))}; name one of the folders above")
    return _pictures(found[0], "", problems)


def read_lmdb(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The word crops of every LMDB of the source, one after the other, as one set.

    Args:
        source: folder that is an LMDB or holds some.
        split: unused, there is none.
        problems: takes records that are missing or damaged.

    Raises:
        MissingSplitError: no LMDB in the source.
        DataError: an archive, or something that is no LMDB.
    """
    found = _databases(source)
    if not found:
        raise MissingSplitError(f"no folder with {DATA_FILE}")
    return (
        picture
        for folder in found
        for picture in _pictures(folder, f"{folder.relative_to(source.root)}/" if len(found) > 1 else "", problems)
    )


def _databases(source: Source) -> list[Path]:
    """The folders of a source that are LMDBs, sorted."""
    folders = []
    for name in source.find(DATA_FILE):
        path = source.path(name)
        if path is None:
            raise DataError(f"{name}: an LMDB cannot be read inside an archive; unpack it and name the folder")
        folders.append(path.parent)
    return folders


def _pictures(folder: Path, prefix: str, problems: Problems) -> Iterator[Picture]:
    """The word crops of one LMDB; ``prefix`` comes before the names of the pictures."""
    with _opened(folder) as records:
        count = _count(records.get(b"num-samples"), folder)
        for number in range(1, count + 1):
            place = f"{folder}: record {number:09d}"
            image, label = records.get(b"image-%09d" % number), records.get(b"label-%09d" % number)
            if image is None or label is None:
                problems.add("record missing in the LMDB (skipped)", place, "image" if image is None else "label")
                continue
            try:
                pixels, text = read_image(bytes(image), apply_exif=False), bytes(label).decode("utf-8")
            except ImageError as error:
                problems.add("image cannot be decoded (skipped)", place, str(error))
                continue
            except UnicodeDecodeError as error:
                problems.add("label is no UTF-8 text (skipped)", place, str(error))
                continue
            height, width = pixels.shape[:2]
            word = Word(box_corners(0.0, 0.0, width, height), text, ordered=True, place=place)
            yield Picture(f"{prefix}{number:09d}.png", [word], image_id=None if prefix else number, pixels=pixels)


def _count(value: Any, folder: Path) -> int:
    """The number of records."""
    if value is None or not re.fullmatch(rb"\s*[0-9]{1,9}\s*", bytes(value)) or int(value) > MAX_SAMPLES:
        raise DataError(f"{folder}: no usable key num-samples, so this is no LMDB of word crops")
    return int(value)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[Any]:
    """A read transaction of an LMDB that is whole.

    LMDB maps its file into memory, and reading beyond the end of one that was cut short ends the process. The pages
    it says it has are therefore counted first.
    """
    try:
        import lmdb
    except ImportError as error:
        raise DataError("reading LMDB needs the package lmdb: pip install 'fasttcm[data]'") from error
    try:
        size = (folder / DATA_FILE).stat().st_size
        with lmdb.open(str(folder), readonly=True, lock=False, readahead=False, create=False) as environment:
            pages = environment.info()["last_pgno"] + 1
            page_size = environment.stat()["psize"]
            if size < pages * page_size:
                raise DataError(
                    f"{folder / DATA_FILE}: {size} bytes of {pages * page_size}; the download is not complete"
                )
            with environment.begin(buffers=True) as transaction:
                yield transaction
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from error
    except lmdb.Error as error:
        raise DataError(f"{folder}: not a readable LMDB ({error})") from error
