"""XML of strangers, parsed without what XML can do to its reader."""

from typing import Any
from xml.etree import ElementTree

from fasttcm.errors import DataError

__all__ = ["parse_xml"]


def parse_xml(data: bytes, place: str) -> ElementTree.Element:
    """The root of a document without a document type.

    Entities, which can blow up a small file to gigabytes or read other files, can only be declared in a DOCTYPE. No
    annotation tool writes one, so such a file is refused before anything in it is expanded; the standard library's
    parser is then as safe as any.

    Args:
        data: the file, in the encoding it declares; a byte-order mark is allowed.
        place: its name, for messages.

    Raises:
        DataError: a DOCTYPE, or broken XML, with line and column.
    """
    parser = ElementTree.XMLParser(target=_Builder(place))
    try:
        parser.feed(data)
        return parser.close()
    except ElementTree.ParseError as error:
        line, column = error.position
        reason = str(error).partition(": line")[0]
        raise DataError(f"{place}: not valid XML at line {line}, column {column + 1}: {reason}") from error
    except DataError:
        raise
    except (LookupError, ValueError) as error:
        raise DataError(f"{place}: not readable XML: {error}") from error


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree; the parser calls :meth:`doctype` where one begins."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place

    def doctype(self, name: str, *_: Any) -> None:
        raise DataError(f"{self._place}: has a DOCTYPE ({name}), which annotations do not need (refused)")
