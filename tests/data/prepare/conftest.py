"""Sources of published datasets written for a test, and what a reader makes of them."""

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fasttcm.data.prepare.picture import Picture
from fasttcm.data.prepare.source import Source
from fasttcm.data.problems import Problems

Content = str | bytes | tuple[int, int] | np.ndarray


def content_of(name: str, content: Any) -> bytes:
    """The bytes of a file: text as UTF-8, (width, height) or an array (h, w, 3) as an image."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode("utf-8", "surrogatepass")
    pixels = np.full((content[1], content[0], 3), 128, np.uint8) if isinstance(content, tuple) else content
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, Image.registered_extensions()[Path(name).suffix.lower()])
    return stream.getvalue()


@pytest.fixture
def write_source(tmp_path: Path) -> Callable[..., Path]:
    """``write_source({"a/b.txt": "text", "a/b.jpg": (width, height)})`` writes a folder and returns it."""

    def write(files: Mapping[str, Content], folder: str = "source") -> Path:
        root = tmp_path / folder
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content_of(name, content))
        return root

    return write


@pytest.fixture
def read_with(write_source: Callable[..., Path]) -> Iterator[Callable[..., tuple[list[Picture], Problems]]]:
    """``read_with(reader, files, split, **options)`` gives the pictures and the problems."""

    def read(
        reader: Callable[..., Any], files: Any, split: str = "", *, strict: bool = False, **options: Any
    ) -> tuple[list[Picture], Problems]:
        root = write_source(files) if isinstance(files, Mapping) else Path(files)
        problems = Problems(strict=strict)
        with Source.open(root) as source:
            return list(reader(source, split=split, problems=problems, **options)), problems

    yield read
