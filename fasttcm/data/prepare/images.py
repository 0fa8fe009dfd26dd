"""The ``images/`` of a prepared dataset: one link to the publisher's folder where that works, else files.

Files are hard links where the file system allows it and copies otherwise; what comes out of an archive is a copy.
Everything is written under a temporary name and renamed, and a file that is there with the right size is kept, so an
interrupted run goes on where it stopped.
"""

import os
import shutil
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from fasttcm.data.images import image_size
from fasttcm.data.prepare.source import Source
from fasttcm.errors import DataError, ImageError

__all__ = ["ImagePlaces", "safe_target"]

FOLDER = "images"
TEMPORARY = ".part"
"""Suffix of a file that is being written."""


def safe_target(folder: Path, name: str) -> Path:
    """The file ``name`` (relative, ``/`` between folders) below ``folder``.

    Raises:
        DataError: the name leads out.
    """
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name:
        raise DataError(f"{name!r} is not a file name inside {folder}")
    return folder.joinpath(*path.parts)


class ImagePlaces:
    """Puts the images of one split in place.

    First every image is announced with :meth:`expect` (or made with :meth:`write`), so that the folder they have in
    common is known; then :meth:`settle` decides how they are referred to; then :meth:`place` does it one by one.

    Args:
        source: where the images are.
        destination: folder of the split.
        link: refer to images by links where possible; otherwise copy.
    """

    def __init__(self, source: Source, destination: Path, *, link: bool) -> None:
        self.source = source
        self.folder = destination / FOLDER
        self.link = link
        self._folders: set[str] = set()
        self._real_files = True
        self._made = False
        self._common = ""
        self._linked = False

    def expect(self, name: str) -> None:
        """Announce an image of the source."""
        self._folders.add(name.rpartition("/")[0])
        path = self.source.path(name)
        self._real_files &= path is not None and not path.is_symlink()

    def write(self, name: str, pixels: np.ndarray) -> None:
        """Write a picture that was made, (H, W, 3) uint8 RGB, unless it is there already.

        Raises:
            DataError: a name that leads out of the folder or has no known suffix, or the disk is full.
        """
        target = safe_target(self.folder, name)
        self._made = True
        self._own_folder()
        try:
            if target.is_file() and image_size(target) == pixels.shape[:2]:
                return
        except ImageError:
            pass  # damaged: written again
        try:
            done, code = cv2.imencode(target.suffix, np.ascontiguousarray(pixels[..., ::-1]))
        except cv2.error:
            done = False
        if not done:
            raise DataError(f"{target}: cannot be written as {target.suffix or 'a file without a suffix'}")
        target.parent.mkdir(parents=True, exist_ok=True)
        _part(target).write_bytes(code.tobytes())
        _part(target).replace(target)

    def settle(self) -> None:
        """Decide between a link to the folder and files, and make the folder or the link."""
        if not self._made:
            self._common = os.path.commonpath(list(self._folders)) if self._folders else ""
        self._linked = self.link and self._real_files and not self._made and bool(self._folders) and self._link_folder()
        if not self._linked:
            self._own_folder()

    def place(self, name: str) -> str:
        """Put one image of the source in place; returns its name relative to ``images/``.

        Raises:
            ImageError: the image is damaged in its archive.
            DataError: it cannot be written.
        """
        relative = name[len(self._common) + 1 :] if self._common else name
        if self._linked:
            return relative
        target = safe_target(self.folder, relative)
        if target.is_file() and target.stat().st_size == self.source.size(name):
            return relative
        target.parent.mkdir(parents=True, exist_ok=True)
        part = _part(target)
        part.unlink(missing_ok=True)
        original = self.source.path(name)
        try:
            if original is None:
                part.write_bytes(self._read(name))
            elif not (self.link and _hard_link(original, part)):
                shutil.copyfile(original, part)
            part.replace(target)
        except OSError as error:
            raise DataError(f"{target}: cannot be written ({error.strerror or error})") from error
        return relative

    def _read(self, name: str) -> bytes:
        """The bytes of an image in an archive."""
        try:
            return self.source.read(name)
        except DataError as error:
            raise ImageError(str(error)) from error

    def _own_folder(self) -> None:
        """A folder of our own in place of an earlier run's link."""
        if self.folder.is_symlink():
            self.folder.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)

    def _link_folder(self) -> bool:
        """Make ``images/`` a link to the images' common folder, unless a folder with files is there or links fail."""
        target = Path(os.path.realpath(self.source.root / self._common))
        if not all(_inside(self.source.root / folder, target) for folder in self._folders):
            return False
        if self.folder.is_symlink() and Path(os.path.realpath(self.folder)) == target:
            return True
        try:
            if self.folder.is_dir() and not self.folder.is_symlink():
                self.folder.rmdir()
            part = self.folder.with_name(FOLDER + TEMPORARY)
            part.unlink(missing_ok=True)
            part.symlink_to(target, target_is_directory=True)
            part.replace(self.folder)
        except OSError:  # it holds files, or the file system has no links
            return False
        return True


def _part(target: Path) -> Path:
    """The temporary name of a file."""
    return target.with_name(target.name + TEMPORARY)


def _hard_link(original: Path, target: Path) -> bool:
    """Link a file; ``False`` where that is not possible, for example across file systems."""
    try:
        os.link(os.path.realpath(original), target)
    except OSError:
        return False
    return True


def _inside(folder: Path, root: Path) -> bool:
    """Whether a folder, its links followed, is the root or below it."""
    return Path(os.path.realpath(folder)).is_relative_to(root)
