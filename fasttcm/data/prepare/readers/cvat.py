"""CVAT's export "CVAT for images 1.1": one XML for a task.

``annotations.xml`` beside ``images/``:

    <?xml version="1.0" encoding="utf-8"?>
    <annotations>
      <version>1.1</version>
      <image id="0" name="street.jpg" width="640" height="480">
        <polygon label="text" occluded="0" points="10.50,20.00;90.00,18.00;91.00,40.00;11.00,42.00" z_order="0">
          <attribute name="text">CAFE</attribute>
        </polygon>
        <box label="text" occluded="0" xtl="200" ytl="50" xbr="260" ybr="80" rotation="12.5" z_order="0">
          <attribute name="transcription">OPEN</attribute>
          <attribute name="illegible">false</attribute>
        </box>
      </image>
    </annotations>

The transcription is the attribute ``text`` or ``transcription``; if no shape has one, the set is for detection. A
``box`` is turned by ``rotation`` degrees clockwise about its middle. A true attribute ``ignore``, ``illegible`` or
``difficult`` means do not care. Masks, points, lines, ellipses, cuboids and skeletons are reported.
"""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.common import (
    IGNORE_FLAGS,
    box_corners,
    is_true,
    numbers,
    outline,
    size_of,
    split_of,
    text_of,
    words_of,
)
from fasttcm.data.prepare.readers.image_names import ImageNames
from fasttcm.data.prepare.readers.safe_xml import parse_xml
from fasttcm.data.prepare.source import MissingSplitError, Source
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError

__all__ = ["read_cvat"]

TEXT_ATTRIBUTES = ("text", "transcription")
BOX_SIDES = ("xtl", "ytl", "xbr", "ybr")
LABELS_OF_A_PICTURE = ("tag", "attribute")
"""Children of an image that are no shapes."""


def read_cvat(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The pictures of a split, file after file.

    The split is told by the subset of a picture, which exports of projects have, else by the names of file and folders.

    Raises:
        MissingSplitError: no picture of the split.
        DataError: broken XML, or the export for videos.
    """
    images = ImageNames(source, problems)
    found = False
    for file in source.find("*.xml"):
        root = parse_xml(source.read(file), file)
        if root.find("track") is not None:
            raise DataError(f"{file}: this is CVAT's export for videos; export as 'CVAT for images 1.1'")
        if root.tag != "annotations" and split_of(file) == split:
            problems.add("no CVAT export, it has no <annotations> (skipped)", file)
        with_texts = any(one.get("name") in TEXT_ATTRIBUTES for one in root.iterfind("image/*/attribute"))

        def word(shape: Element, place: str, problems: Problems, with_texts: bool = with_texts) -> Word | None:
            return _word(shape, place, problems, with_texts)

        for entry in root.iterfind("image"):
            if (split_of(entry.get("subset", "")) or split_of(file)) != split:
                continue
            found = True
            place = f"{file}: image {entry.get('name')!r}"
            image = images.find(entry.get("name"), place=place, near=file)
            if image is None:
                continue
            words = words_of(list(entry), word, place, problems, unit="shape")
            yield Picture(image, words, size=size_of(_whole(entry.get("width")), _whole(entry.get("height"))))
    if not found:
        raise MissingSplitError(f"no *.xml with an <image> of the split {split!r}")


def _word(shape: Element, place: str, problems: Problems, with_texts: bool) -> Word | None:
    """One child of an image."""
    if shape.tag in LABELS_OF_A_PICTURE:
        return None
    if shape.tag == "polygon":
        points = outline([pair.split(",") for pair in shape.get("points", "").split(";")])
    elif shape.tag == "box":
        sides = numbers([shape.get(side) for side in BOX_SIDES], "box").tolist()
        degrees = float(numbers([shape.get("rotation") or 0], "rotation")[0])
        points = box_corners(*sides, degrees=degrees)
    else:
        raise AnnotationError("shape is neither polygon nor box (skipped)", shape.tag)
    attributes = {one.get("name"): one.text or "" for one in shape.iterfind("attribute")}
    text = next((attributes[name] for name in TEXT_ATTRIBUTES if name in attributes), None)
    ignore = any(is_true(attributes.get(flag)) for flag in IGNORE_FLAGS)
    return Word(points, text_of(text, place, problems) if with_texts else None, ignore=ignore, place=place)


def _whole(value: str | None) -> int | None:
    """A whole number, or ``None``."""
    return int(value) if value is not None and value.isascii() and value.isdecimal() else None
