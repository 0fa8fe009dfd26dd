"""Where the image files of a dataset are, without ever leaving its folder."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

__all__ = ["ImageFolder"]


class ImageFolder:
    """One listing of an image folder, so that 100 000 files are looked up with a handful of system calls.

    Annotation files come from strangers: a name that is absolute, climbs with ``..`` or runs through a link to
    outside the folder is refused. The folder itself may be a link.

    Args:
        root: the folder.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self._real_root = os.path.realpath(root)
        self._listings: dict[str, dict[str, bool] | None] = {}

    def complaint(self, file_name: str) -> str:
        """Why ``file_name`` (relative, ``/`` between folders) cannot be used; empty when it can.

        The answers are ``file name leaves the image folder``, ``image file missing`` and ``file name missing``.
        """
        if not file_name or "\0" in file_name:
            return "file name missing"
        name = PurePosixPath(file_name)
        if name.is_absolute() or PureWindowsPath(file_name).is_absolute() or ".." in name.parts:
            return "file name leaves the image folder"
        listing = self._listing(str(name.parent))
        if listing is None:
            return "file name leaves the image folder"
        if name.name not in listing:
            return "image file missing"
        is_link = listing[name.name]
        return "file name leaves the image folder" if is_link and not self._inside(self.root / name) else ""

    def _listing(self, folder: str) -> dict[str, bool] | None:
        """File name -> whether it is a symbolic link; empty for a missing folder, ``None`` for one outside."""
        if folder not in self._listings:
            self._listings[folder] = self._scan(self.root / folder)
        return self._listings[folder]

    def _scan(self, path: Path) -> dict[str, bool] | None:
        """The uncached :meth:`_listing`."""
        if not path.is_dir():
            return {}
        if not self._inside(path):
            return None
        with os.scandir(path) as entries:
            return {entry.name: entry.is_symlink() for entry in entries if entry.is_file()}

    def _inside(self, path: Path) -> bool:
        """Whether a path, its links followed, is the root or below it."""
        return Path(os.path.realpath(path)).is_relative_to(self._real_root)
