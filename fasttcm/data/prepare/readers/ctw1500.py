r"""SCUT-CTW1500: text lines as polygons of 14 points, seven on the top side and seven on the bottom side.

Training, ``0001.xml`` for ``0001.jpg`` (``ctw1500_train_labels.zip``, ``train_images.zip``):

    <Annotations><image file="0001.jpg">
      <box height="67" left="299" top="111" width="208">
        <label>BAY VIEW</label><segs>309,178,...,299,170</segs><pts x="309" y="178"/>
      </box></image></Annotations>

Test, ``0001001.txt`` for ``1001.jpg`` (``gt_ctw1500.zip``, ``test_images.zip``); further lines of older copies have
more or fewer points; ``###`` is a do not care:

    574,80,590,84,...,566,92,####OFFICE

The first release, without transcriptions: the box (left, top, right, bottom) and 14 points relative to its top-left
corner, 32 numbers in all:

    299,111,507,178,10,67,...,0,59

Images 1 to 1000 are for training, the rest for testing, whatever the folders are called.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.common import outline
from fasttcm.data.prepare.readers.files import (
    coordinates,
    last_number,
    pairs_of,
    read_lines,
    read_or_report,
    transcription,
)
from fasttcm.data.prepare.source import Source, decode_text, is_image
from fasttcm.data.problems import Problems
from fasttcm.structures import ILLEGIBLE, FloatArray

__all__ = ["read_ctw1500"]


LAST_TRAINING_IMAGE = 1000
LAST_IMAGE = 1500
PLAIN_POINTS = 14
RELATIVE_NUMBERS = 4 + 2 * PLAIN_POINTS
NAME = re.compile("[0-9]{1,7}")
SEPARATOR = "####"


def read_ctw1500(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The pictures of ``train`` or ``test``."""
    names = [name for name in source.names() if _split(name) == split]
    files = [name for name in names if name.lower().endswith((".xml", ".txt"))]
    # Where a picture has both, the XML comes first: it has transcriptions.
    files.sort(key=lambda name: (not name.lower().endswith(".xml"), name))
    chosen: dict[str, str] = {}
    for name in files:
        chosen.setdefault(_key(name), name)
    images = [name for name in names if is_image(name)]
    pairs = pairs_of(list(chosen.values()), images, problems=problems, key=_key, image_key=_key)
    for file, image in pairs:
        is_xml = file.lower().endswith(".xml")
        words = _xml_words(source, file, problems) if is_xml else read_lines(source, file, _parse_line, problems)
        if words is not None:
            yield Picture(image, words, image_id=last_number(image))


def _split(name: str) -> str:
    """The split of a file by its number; empty for a file that is not named by a number."""
    stem = name.rpartition("/")[2].rpartition(".")[0]
    number = int(stem) if NAME.fullmatch(stem) else 0
    if not 1 <= number <= LAST_IMAGE:
        return ""
    return "train" if number <= LAST_TRAINING_IMAGE else "test"


def _key(name: str) -> str:
    """What a file and its image have in common: ``1001`` of ``0001001.txt``."""
    return str(last_number(name))


def _xml_words(source: Source, name: str, problems: Problems) -> list[Word] | None:
    """The words of an XML file; ``None``, and a problem, for a broken one."""
    data = read_or_report(source, name, problems)
    if data is None:
        return None
    text = decode_text(data)
    if "<!ENTITY" in text:
        problems.add("XML with entities (refused; image skipped)", name)
        return None
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text)  # its encoding has been dealt with
    text = re.sub(r"&(?!(?:#\d+|#x[0-9a-fA-F]+|amp|lt|gt|quot|apos);)", "&amp;", text)
    try:
        boxes = list(ElementTree.fromstring(text).iter("box"))
    except ElementTree.ParseError as error:
        problems.add("not valid XML (image skipped)", name, str(error))
        return None
    words = []
    for number, box in enumerate(boxes, 1):
        place = f"{name}: box {number}"
        try:
            words.append(_xml_word(box, place, problems))
        except AnnotationError as error:
            problems.add(error.reason, place, error.detail)
    return words


def _xml_word(box: ElementTree.Element, place: str, problems: Problems) -> Word:
    """One ``box``: ``segs`` is an element or an attribute."""
    segs = (box.findtext("segs") or box.get("segs") or "").strip().strip(",")
    if not segs:
        raise AnnotationError("box without segs (skipped)")
    fields = segs.split(",")
    points = outline(coordinates(fields, len(fields)), "segs")
    text = transcription(box.findtext("label") or box.get("label") or "", place, problems)
    return Word(points, text, ignore=text == ILLEGIBLE, ordered=len(points) == PLAIN_POINTS, place=place)


def _parse_line(line: str, place: str, problems: Problems) -> Word:
    """A line of a text file, with or without transcription."""
    numbers, separator, raw = line.partition(SEPARATOR)
    fields = numbers.strip().strip(",").split(",")
    values = coordinates(fields, len(fields))
    points: FloatArray
    text: str | None
    if not separator and len(values) == RELATIVE_NUMBERS:
        points, text = values[4:].reshape(-1, 2) + values[:2], None
    else:
        points = outline(values, "the line")
        text = transcription(raw, place, problems) if separator else None
    return Word(points, text, ignore=text == ILLEGIBLE, ordered=len(points) == PLAIN_POINTS, place=place)
