"""MATLAB files of datasets, read with scipy."""

from collections.abc import Sequence
from typing import Any, BinaryIO

from scipy.io import loadmat

from fasttcm.errors import DataError

__all__ = ["load_mat"]


def load_mat(stream: BinaryIO, name: str, variables: Sequence[str] | None = None) -> dict[str, Any]:
    """The variables of a file of version 4 to 7 as NumPy arrays.

    Args:
        stream: the file, seekable.
        name: what messages call it.
        variables: only these; ``None``: all.

    Raises:
        DataError: no MATLAB file, damaged, or of version 7.3.
    """
    try:
        content: dict[str, Any] = loadmat(stream, variable_names=variables)
    except NotImplementedError as error:
        raise DataError(f"{name}: a MATLAB 7.3 file; save it as version 7 (save -v7) or take the text files") from error
    except Exception as error:  # scipy's reader has no list of what it raises on damaged files
        raise DataError(f"{name}: not a MATLAB file, or damaged ({' '.join(str(error).split())})") from error
    return content
